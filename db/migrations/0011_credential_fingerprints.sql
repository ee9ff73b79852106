-- Another process of the version before may have written in between.
DELETE FROM "source_credentials";--> statement-breakpoint
ALTER TABLE "source_credentials" ADD COLUMN "fingerprint" text NOT NULL;--> statement-breakpoint
ALTER TABLE "source_credentials" DROP CONSTRAINT "source_credentials_source_credential_pk";--> statement-breakpoint
ALTER TABLE "source_credentials" ADD CONSTRAINT "source_credentials_source_credential_fingerprint_pk" PRIMARY KEY("source","credential","fingerprint");
