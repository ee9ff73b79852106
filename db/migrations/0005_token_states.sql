ALTER TABLE "delegated_tokens" ADD COLUMN "audience" text DEFAULT 'graph' NOT NULL;--> statement-breakpoint
ALTER TABLE "delegated_tokens" ADD COLUMN "state" text DEFAULT 'valid' NOT NULL;--> statement-breakpoint
ALTER TABLE "delegated_tokens" ADD COLUMN "reason" text;--> statement-breakpoint
ALTER TABLE "delegated_tokens" ADD COLUMN "claims" text;--> statement-breakpoint
ALTER TABLE "delegated_tokens" ADD CONSTRAINT "delegated_tokens_audience" CHECK ("delegated_tokens"."audience" in ('graph', 'api'));--> statement-breakpoint
ALTER TABLE "delegated_tokens" ADD CONSTRAINT "delegated_tokens_state" CHECK ("delegated_tokens"."state" in ('valid', 'needs_login', 'denied'));