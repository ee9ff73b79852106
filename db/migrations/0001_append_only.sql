CREATE FUNCTION membership_changes_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'membership_changes is append-only: % refused', lower(TG_OP) USING ERRCODE = 'restrict_violation';
END
$$;
--> statement-breakpoint
CREATE TRIGGER membership_changes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON "membership_changes"
FOR EACH STATEMENT EXECUTE FUNCTION membership_changes_append_only();
