-- As before, and tells of it.
CREATE OR REPLACE FUNCTION clear_contacts(account bigint, organization bigint) RETURNS SETOF contacts
LANGUAGE sql VOLATILE AS $$
  UPDATE organizations SET contacts_revision = contacts_revision + 1 WHERE account_id = account AND id = organization;
  WITH gone AS (
    DELETE FROM contacts WHERE account_id = account AND organization_id = organization RETURNING *
  ), told AS (
    INSERT INTO contact_events AS e (account_id, organization_id, changes)
    SELECT account, organization, json_build_array(json_build_object('cleared', json_agg(g.id ORDER BY g.channel, g.label, g.id)))
    FROM gone g HAVING count(*) > 0
    RETURNING (
      SELECT pg_notify('contact_events', e.account_id::text) FROM contact_listeners l
      WHERE l.account_id = e.account_id AND l.expires_at > now() LIMIT 1
    )
  )
  SELECT * FROM gone;
$$;
--> statement-breakpoint
-- As before, and tells of it.
CREATE OR REPLACE FUNCTION pull_contacts(account bigint, pull bigint, foreign_organization bigint, asked jsonb, tag text, is_gone boolean)
RETURNS TABLE (created integer, updated integer, unchanged integer, deleted integer)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
  own bigint;
  removed integer;
BEGIN
  SELECT p.organization_id INTO own FROM pulled_organizations p
  WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = foreign_organization;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  -- Also those that contacts have moved away from.
  PERFORM FROM organizations o
  WHERE o.account_id = account AND o.id = ANY (own || ARRAY(
    SELECT c.organization_id FROM jsonb_to_recordset(asked) AS g(foreign_id bigint)
    CROSS JOIN LATERAL (
      SELECT p.contact_id FROM pulled_contacts p
      WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = g.foreign_id LIMIT 1
    ) p
    CROSS JOIN LATERAL (
      SELECT c.organization_id FROM contacts c WHERE c.account_id = account AND c.id = p.contact_id LIMIT 1
    ) c
  ))
  ORDER BY o.id FOR NO KEY UPDATE;

  WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(asked) AS g(foreign_id bigint, channel contact_channel)
  ), here AS MATERIALIZED (
    SELECT c.id, p.foreign_id, c.channel FROM contacts c
    CROSS JOIN LATERAL (
      SELECT p.foreign_id FROM pulled_contacts p
      WHERE p.account_id = account AND p.contact_id = c.id AND p.pull_id = pull LIMIT 1
    ) p
    WHERE c.account_id = account AND c.organization_id = own
  ), elsewhere AS MATERIALIZED (
    SELECT c.id FROM given g
    CROSS JOIN LATERAL (
      SELECT p.contact_id FROM pulled_contacts p
      WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = g.foreign_id LIMIT 1
    ) p
    CROSS JOIN LATERAL (
      SELECT c.id, c.organization_id FROM contacts c WHERE c.account_id = account AND c.id = p.contact_id LIMIT 1
    ) c
    WHERE c.organization_id <> own
  ), gone AS (
    DELETE FROM contacts c WHERE c.account_id = account AND c.id IN (
      SELECT h.id FROM here h
      WHERE NOT EXISTS (SELECT FROM given g WHERE g.foreign_id = h.foreign_id AND g.channel = h.channel)
      UNION ALL SELECT e.id FROM elsewhere e
    )
    RETURNING c.organization_id, c AS contact
  ), told AS (
    INSERT INTO contact_events AS e (account_id, organization_id, changes)
    SELECT account, g.organization_id, json_agg(json_build_object('removed', row_to_json(g.contact)))
    FROM gone g GROUP BY g.organization_id
    RETURNING (
      SELECT pg_notify('contact_events', e.account_id::text) FROM contact_listeners l
      WHERE l.account_id = e.account_id AND l.expires_at > now() LIMIT 1
    )
  ), revision AS (
    UPDATE organizations o SET contacts_revision = o.contacts_revision + 1
    WHERE o.account_id = account AND o.id IN (SELECT g.organization_id FROM gone g)
  )
  SELECT count(*) INTO removed FROM gone;

  RETURN QUERY
  WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(asked) AS g(place integer, foreign_id bigint)
  ), imported AS MATERIALIZED (
    SELECT i.* FROM import_contacts(account,
      jsonb_build_array(jsonb_build_object('team', 0, 'id', own, 'replaces', false)),
      (
        SELECT coalesce(jsonb_agg(item || jsonb_build_object('team', 0, 'id', p.contact_id)), '[]')
        FROM jsonb_array_elements(asked) AS item
        LEFT JOIN LATERAL (
          SELECT p.contact_id FROM pulled_contacts p
          WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = (item ->> 'foreign_id')::bigint LIMIT 1
        ) p ON true
      ), false) i
  ), remembered AS (
    INSERT INTO pulled_contacts (account_id, pull_id, foreign_id, contact_id)
    SELECT account, pull, g.foreign_id, (i.contact).id FROM imported i JOIN given g ON g.place = i.place
    ON CONFLICT (account_id, pull_id, foreign_id) DO UPDATE SET contact_id = excluded.contact_id
  ), told AS (
    INSERT INTO contact_events AS e (account_id, organization_id, changes)
    SELECT account, own, json_agg(json_build_object(
      CASE i.outcome WHEN 'created' THEN 'added' ELSE i.outcome END, row_to_json(i.contact)) ORDER BY i.place)
    FROM imported i WHERE i.outcome IN ('created', 'updated') HAVING count(*) > 0
    RETURNING (
      SELECT pg_notify('contact_events', e.account_id::text) FROM contact_listeners l
      WHERE l.account_id = e.account_id AND l.expires_at > now() LIMIT 1
    )
  ), disabled AS (
    UPDATE organizations o SET disabled = true, updated_at = clock_timestamp()
    WHERE o.account_id = account AND o.id = own AND is_gone AND NOT o.disabled
  ), forgotten AS (
    DELETE FROM pulled_organizations p
    WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = foreign_organization AND is_gone
  ), read AS (
    UPDATE pulled_organizations p SET etag = tag, contacts_of = p.updated_at, contacts_at = clock_timestamp()
    WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = foreign_organization AND NOT is_gone
  )
  SELECT
    count(*) FILTER (WHERE i.outcome = 'created')::integer,
    count(*) FILTER (WHERE i.outcome = 'updated')::integer,
    count(*) FILTER (WHERE i.outcome = 'unchanged')::integer,
    removed
  FROM imported i;
END
$$;
