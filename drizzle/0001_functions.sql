-- A statement keeps the snapshot it began with, even when it then waits for a lock. These two functions take the lock
-- first; their second statement has a snapshot of its own and so sees whatever was committed while the first waited.

-- Removes every contact of an organization and returns the rows that were removed.
CREATE FUNCTION clear_contacts(account bigint, organization bigint) RETURNS SETOF contacts
LANGUAGE sql VOLATILE AS $$
  UPDATE organizations SET contacts_revision = contacts_revision + 1 WHERE account_id = account AND id = organization;
  DELETE FROM contacts WHERE account_id = account AND organization_id = organization RETURNING *;
$$;
--> statement-breakpoint
-- Whether the organization is the given one or one of its ancestors. Moves within an account wait for each other here.
CREATE FUNCTION is_same_or_ancestor(account bigint, organization bigint, of_organization bigint) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
  SELECT id FROM accounts WHERE id = account FOR NO KEY UPDATE;
  WITH RECURSIVE up(id, parent_id) AS (
    SELECT o.id, o.parent_id FROM organizations o WHERE o.account_id = account AND o.id = of_organization
    UNION
    SELECT o.id, o.parent_id FROM up JOIN organizations o ON o.account_id = account AND o.id = up.parent_id
  )
  SELECT EXISTS (SELECT FROM up WHERE up.id = organization);
$$;
