-- A statement keeps the snapshot it began with, even when it then waits for a lock. What these functions do has a
-- snapshot of its own, and so sees whatever was committed while the lock was waited for.

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
--> statement-breakpoint
-- Makes the keys of a contact exactly the given ones. Whoever calls it holds the lock of the contact. Returns its id.
CREATE FUNCTION set_contact_keys(account bigint, contact bigint, of_channel contact_channel, keys text[]) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
  DELETE FROM contact_lookups WHERE account_id = account AND contact_id = contact AND key <> ALL (keys);
  INSERT INTO contact_lookups (account_id, channel, key, contact_id)
    SELECT account, of_channel, new_key, contact FROM unnest(keys) AS new_key
    ON CONFLICT DO NOTHING;
  SELECT contact;
$$;
