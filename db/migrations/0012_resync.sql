CREATE TABLE "resync_users" (
	"resync_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"taken_at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"enqueued_at" timestamp(6) with time zone,
	CONSTRAINT "resync_users_resync_id_user_id_pk" PRIMARY KEY("resync_id","user_id")
);
--> statement-breakpoint
ALTER TABLE "sync_runs" DROP CONSTRAINT "sync_runs_cause";--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "begins_at" timestamp(6) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "cutoff_at" timestamp(6) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "spread_seconds" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "cursor_synced_at" timestamp(6) with time zone;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "cursor_user_id" uuid;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "all_taken" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "tended_at" timestamp(6) with time zone;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "approved_at" timestamp(6) with time zone;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "error_code" text;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "removed_before" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "taken" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "resyncs" ADD COLUMN "denied" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "sync_runs" ADD COLUMN "held_by" text;--> statement-breakpoint
ALTER TABLE "sync_runs" ADD COLUMN "requests" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "sync_runs" ADD COLUMN "resource_units" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "frozen_at" timestamp(6) with time zone;--> statement-breakpoint
ALTER TABLE "resync_users" ADD CONSTRAINT "resync_users_resync_id_resyncs_id_fk" FOREIGN KEY ("resync_id") REFERENCES "public"."resyncs"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "resync_users" ADD CONSTRAINT "resync_users_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "resync_users_by_user" ON "resync_users" USING btree ("user_id");--> statement-breakpoint
ALTER TABLE "sync_runs" ADD CONSTRAINT "sync_runs_held_by" CHECK ("sync_runs"."held_by" in ('person', 'reach', 'resync'));--> statement-breakpoint
ALTER TABLE "sync_runs" ADD CONSTRAINT "sync_runs_cause" CHECK ("sync_runs"."cause" in ('login', 'resync', 'manual', 'approve', 'absent'));