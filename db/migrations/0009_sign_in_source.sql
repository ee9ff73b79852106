CREATE TABLE "invitations" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"source" text NOT NULL,
	"object_id" text,
	"user_principal_name" text,
	"invited_at" timestamp(6) with time zone DEFAULT now() NOT NULL,
	"user_id" uuid,
	CONSTRAINT "invitations_names_one" CHECK (("invitations"."object_id" is null) <> ("invitations"."user_principal_name" is null))
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"source" text NOT NULL,
	"entra_session" text,
	"logout_hint" text,
	"started_at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"seen_at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"ends_at" timestamp(6) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "source_credentials" (
	"source" text NOT NULL,
	"credential" text NOT NULL,
	"kind" text NOT NULL,
	"in_use" boolean NOT NULL,
	"expires_at" timestamp(6) with time zone,
	"refused_with" text,
	"refused_at" timestamp(6) with time zone,
	"updated_at" timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "source_credentials_source_credential_pk" PRIMARY KEY("source","credential")
);
--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "other_mails" text[];--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "disabled_by" text;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "groups_read" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "sync_asked_at" timestamp(6) with time zone;--> statement-breakpoint
ALTER TABLE "invitations" ADD CONSTRAINT "invitations_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "invitations_once" ON "invitations" USING btree ("source","object_id","user_principal_name");--> statement-breakpoint
CREATE INDEX "sessions_by_user" ON "sessions" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "sessions_by_entra_session" ON "sessions" USING btree ("source","entra_session");--> statement-breakpoint
CREATE INDEX "sessions_by_end" ON "sessions" USING btree ("ends_at");--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_disabled_by" CHECK ("users"."disabled_by" in ('entra', 'local'));--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_disabled" CHECK ("users"."enabled" = ("users"."disabled_by" is null));