CREATE TABLE "subscriptions" (
	"source" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"url" text NOT NULL,
	"subscription_id" text,
	"client_state_hash" text,
	"expires_at" timestamp(6) with time zone,
	"renew_at" timestamp(6) with time zone,
	"renewed_at" timestamp(6) with time zone,
	"reauthorize" boolean DEFAULT false NOT NULL,
	"try_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	"failures" integer DEFAULT 0 NOT NULL,
	"error_code" text,
	"tended_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	"changed_at" timestamp(6) with time zone,
	"asked_at" timestamp(6) with time zone,
	CONSTRAINT "subscriptions_whole" CHECK (("subscriptions"."subscription_id" is null) = ("subscriptions"."client_state_hash" is null)
        and ("subscriptions"."subscription_id" is null) = ("subscriptions"."renew_at" is null))
);
