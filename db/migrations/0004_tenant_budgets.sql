CREATE UNLOGGED TABLE "tenant_budgets" (
	"client_id" text NOT NULL,
	"tenant_id" text NOT NULL,
	"high_at" double precision DEFAULT 0 NOT NULL,
	"low_at" double precision DEFAULT 0 NOT NULL,
	"owed" double precision DEFAULT 0 NOT NULL,
	"pace" double precision DEFAULT 1 NOT NULL,
	"paced_at" double precision DEFAULT 0 NOT NULL,
	"paused_until" double precision DEFAULT 0 NOT NULL,
	"pauses" integer DEFAULT 0 NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "tenant_budgets_client_id_tenant_id_pk" PRIMARY KEY("client_id","tenant_id")
);
