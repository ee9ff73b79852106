CREATE TABLE "delegated_tokens" (
	"user_id" uuid NOT NULL,
	"source" text NOT NULL,
	"sealed" text NOT NULL,
	"key_id" text NOT NULL,
	"expires_at" timestamp(6) with time zone NOT NULL,
	"scopes" text[] NOT NULL,
	"updated_at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "delegated_tokens_user_id_source_pk" PRIMARY KEY("user_id","source")
);
--> statement-breakpoint
CREATE TABLE "delta_links" (
	"source" text NOT NULL,
	"resource" text NOT NULL,
	"link" text NOT NULL,
	"obtained_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "delta_links_source_resource_pk" PRIMARY KEY("source","resource"),
	CONSTRAINT "delta_links_resource" CHECK ("delta_links"."resource" in ('groups', 'users'))
);
--> statement-breakpoint
CREATE TABLE "groups" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"tenant_id" text NOT NULL,
	"object_id" text NOT NULL,
	"display_name" text,
	"description" text,
	"mail" text,
	"security_enabled" boolean,
	"mail_enabled" boolean,
	"group_types" text[],
	"first_seen_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	"last_seen_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp(6) with time zone,
	CONSTRAINT "groups_identity" UNIQUE("tenant_id","object_id")
);
--> statement-breakpoint
CREATE TABLE "login_events" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"source" text NOT NULL,
	"tenant_id" text NOT NULL,
	"user_id" uuid NOT NULL,
	"received_at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"enqueued_at" timestamp(6) with time zone
);
--> statement-breakpoint
CREATE TABLE "membership_changes" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "membership_changes_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"user_id" uuid NOT NULL,
	"group_id" uuid NOT NULL,
	"origin" text NOT NULL,
	"change" text NOT NULL,
	"run_id" uuid,
	"at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "membership_changes_change" CHECK ("membership_changes"."change" in ('added', 'removed')),
	CONSTRAINT "membership_changes_origin" CHECK ("membership_changes"."origin" in ('entra', 'local'))
);
--> statement-breakpoint
CREATE TABLE "memberships" (
	"user_id" uuid NOT NULL,
	"group_id" uuid NOT NULL,
	"origin" text NOT NULL,
	"since" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"run_id" uuid,
	CONSTRAINT "memberships_user_id_group_id_origin_pk" PRIMARY KEY("user_id","group_id","origin"),
	CONSTRAINT "memberships_origin" CHECK ("memberships"."origin" in ('entra', 'local'))
);
--> statement-breakpoint
CREATE TABLE "resyncs" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"source" text NOT NULL,
	"mode" text NOT NULL,
	"cause" text NOT NULL,
	"state" text DEFAULT 'running' NOT NULL,
	"started_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp(6) with time zone,
	"due" integer DEFAULT 0 NOT NULL,
	"done" integer DEFAULT 0 NOT NULL,
	"changed" integer DEFAULT 0 NOT NULL,
	"held" integer DEFAULT 0 NOT NULL,
	"failed" integer DEFAULT 0 NOT NULL,
	"needs_login" integer DEFAULT 0 NOT NULL,
	"requests" integer DEFAULT 0 NOT NULL,
	"resource_units" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "resyncs_mode" CHECK ("resyncs"."mode" in ('full', 'delta')),
	CONSTRAINT "resyncs_state" CHECK ("resyncs"."state" in ('running', 'done', 'held', 'cancelled', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "sources" (
	"slug" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"tenant_id" text NOT NULL,
	"client_id" text NOT NULL,
	"created_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp(6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "sync_runs" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"user_id" uuid NOT NULL,
	"source" text NOT NULL,
	"cause" text NOT NULL,
	"resync_id" uuid,
	"started_at" timestamp(6) with time zone NOT NULL,
	"ended_at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"outcome" text NOT NULL,
	"error_code" text,
	"graph_request_id" text,
	"remote_count" integer DEFAULT 0 NOT NULL,
	"groups_created" integer DEFAULT 0 NOT NULL,
	"groups_updated" integer DEFAULT 0 NOT NULL,
	"added" integer DEFAULT 0 NOT NULL,
	"removed" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "sync_runs_cause" CHECK ("sync_runs"."cause" in ('login', 'resync', 'manual', 'approve')),
	CONSTRAINT "sync_runs_outcome" CHECK ("sync_runs"."outcome" in ('applied', 'unchanged', 'stale', 'held', 'needs_login', 'denied', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "users" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"tenant_id" text NOT NULL,
	"object_id" text NOT NULL,
	"user_principal_name" text,
	"display_name" text,
	"mail" text,
	"enabled" boolean DEFAULT true NOT NULL,
	"last_login_at" timestamp(6) with time zone,
	"last_synced_at" timestamp(6) with time zone,
	"snapshot_at" timestamp(6) with time zone,
	"membership_digest" text,
	"sync_state" text DEFAULT 'never' NOT NULL,
	"created_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "users_identity" UNIQUE("tenant_id","object_id"),
	CONSTRAINT "users_sync_state" CHECK ("users"."sync_state" in ('never', 'synced', 'held', 'needs_login', 'denied', 'failed'))
);
--> statement-breakpoint
ALTER TABLE "delegated_tokens" ADD CONSTRAINT "delegated_tokens_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "login_events" ADD CONSTRAINT "login_events_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_group_id_groups_id_fk" FOREIGN KEY ("group_id") REFERENCES "public"."groups"("id") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sync_runs" ADD CONSTRAINT "sync_runs_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sync_runs" ADD CONSTRAINT "sync_runs_resync_id_resyncs_id_fk" FOREIGN KEY ("resync_id") REFERENCES "public"."resyncs"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "delegated_tokens_by_key" ON "delegated_tokens" USING btree ("key_id");--> statement-breakpoint
CREATE INDEX "login_events_by_user" ON "login_events" USING btree ("user_id","received_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "login_events_not_enqueued" ON "login_events" USING btree ("received_at") WHERE enqueued_at is null;--> statement-breakpoint
CREATE INDEX "login_events_by_enqueued" ON "login_events" USING btree ("enqueued_at");--> statement-breakpoint
CREATE UNIQUE INDEX "membership_changes_once" ON "membership_changes" USING btree ("run_id","user_id","group_id");--> statement-breakpoint
CREATE INDEX "membership_changes_by_user" ON "membership_changes" USING btree ("user_id","at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "membership_changes_by_group" ON "membership_changes" USING btree ("group_id","at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "memberships_by_group" ON "memberships" USING btree ("group_id");--> statement-breakpoint
CREATE UNIQUE INDEX "resyncs_one_running" ON "resyncs" USING btree ("source","mode") WHERE state = 'running';--> statement-breakpoint
CREATE INDEX "sync_runs_by_user" ON "sync_runs" USING btree ("user_id","started_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "sync_runs_by_resync" ON "sync_runs" USING btree ("resync_id") WHERE resync_id is not null;--> statement-breakpoint
CREATE INDEX "users_due" ON "users" USING btree ("last_synced_at" NULLS FIRST,"id");