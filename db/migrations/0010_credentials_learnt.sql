-- What was learnt is learnt anew with the next request.
DELETE FROM "source_credentials";--> statement-breakpoint
ALTER TABLE "source_credentials" DROP COLUMN "kind";--> statement-breakpoint
ALTER TABLE "source_credentials" DROP COLUMN "expires_at";
