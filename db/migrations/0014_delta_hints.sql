CREATE TABLE "delta_hints" (
	"source" text NOT NULL,
	"user_id" uuid NOT NULL,
	"told_at" timestamp(6) with time zone NOT NULL,
	"due_at" timestamp(6) with time zone NOT NULL,
	CONSTRAINT "delta_hints_source_user_id_pk" PRIMARY KEY("source","user_id")
);
--> statement-breakpoint
ALTER TABLE "delta_hints" ADD CONSTRAINT "delta_hints_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "delta_hints_by_user" ON "delta_hints" USING btree ("user_id");