-- Imports contacts of several organizations, each of them whole or not at all. `teams` are organizations, by id or by name:
-- [{"team", "id", "name", "replaces"}]. `asked` are their contacts: [{"team", "place", "id", "channel", "label", "value",
-- "integration", "keys"}]; one with an id changes that contact (its `integration` stays where none is given), one without is
-- there already if a contact is the same in all of this. Where a team replaces, the contacts of the integration that are not
-- named are removed. With `is_dry` nothing is written. Tells the outcome for each place; outcomes in capitals are faults.
-- What is read is as of after the locks.
-- Nobody knows beforehand how many rows there are, and at a low guess they would be compared each with each: hence no nested
-- loops, but for what is looked up in an index.
CREATE FUNCTION import_contacts(account bigint, teams jsonb, asked jsonb, is_dry boolean)
RETURNS TABLE (team integer, place integer, outcome text, contact contacts)
LANGUAGE plpgsql VOLATILE SET enable_nestloop = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  ids bigint[];
  sequence regclass := pg_get_serial_sequence('contacts', 'id');
BEGIN
  SELECT array_agg(found.id) INTO ids
  FROM jsonb_to_recordset(teams) AS t(id bigint, name text)
  CROSS JOIN LATERAL (
    SELECT o.id FROM organizations o WHERE o.account_id = account AND o.id = t.id
    UNION ALL
    SELECT o.id FROM organizations o WHERE t.id IS NULL AND o.account_id = account AND o.name = t.name
  ) found;
  IF NOT is_dry THEN
    PERFORM FROM organizations o WHERE o.account_id = account AND o.id = ANY (ids) ORDER BY o.id FOR NO KEY UPDATE;
  END IF;

  RETURN QUERY
  WITH known AS MATERIALIZED (
    SELECT t.team, t.replaces, found.id AS organization
    FROM jsonb_to_recordset(teams) AS t(team integer, id bigint, name text, replaces boolean)
    LEFT JOIN LATERAL (
      SELECT o.id FROM organizations o WHERE o.account_id = account AND o.id = t.id
      UNION ALL
      SELECT o.id FROM organizations o WHERE t.id IS NULL AND o.account_id = account AND o.name = t.name
    ) found ON found.id = ANY (ids)
  ), given AS MATERIALIZED (
    SELECT k.organization, a.*
    FROM jsonb_to_recordset(asked) AS a(team integer, place integer, id bigint, channel contact_channel,
      label contact_label, value text, integration boolean, keys text[])
    JOIN known k ON k.team = a.team
  ), existing AS MATERIALIZED (
    SELECT c.*, c AS contact FROM contacts c WHERE c.account_id = account AND c.organization_id = ANY (ids)
  ), target AS MATERIALIZED (
    SELECT g.team, g.place, e.id, e.contact,
      (g.label, g.value, coalesce(g.integration, e.integration)) IS DISTINCT FROM (e.label, e.value, e.integration) AS is_changed,
      CASE
        WHEN e.id IS NULL THEN 'MISSING'
        WHEN e.channel <> g.channel THEN 'CHANNEL'
        WHEN row_number() OVER (PARTITION BY e.id ORDER BY g.place) > 1 THEN 'DUPLICATE'
      END AS fault
    FROM given g LEFT JOIN existing e ON e.id = g.id AND e.organization_id = g.organization
    WHERE g.id IS NOT NULL AND g.organization IS NOT NULL
  ), same AS MATERIALIZED (
    SELECT w.team, w.place, e.id, e.contact
    FROM (
      SELECT g.*, row_number() OVER (
        PARTITION BY g.organization, g.channel, g.label, g.value, g.integration ORDER BY g.place
      ) AS nth
      FROM given g WHERE g.id IS NULL AND g.organization IS NOT NULL
    ) w
    LEFT JOIN (
      SELECT e.*, row_number() OVER (
        PARTITION BY e.organization_id, e.channel, e.label, e.value, e.integration ORDER BY e.id
      ) AS nth
      FROM existing e WHERE NOT EXISTS (SELECT FROM target t WHERE t.id = e.id)
    ) e ON e.organization_id = w.organization AND e.channel = w.channel AND e.label = w.label
      AND e.value = w.value AND e.integration = w.integration AND e.nth = w.nth
  ), fine AS MATERIALIZED (
    SELECT k.* FROM known k
    WHERE k.organization IS NOT NULL AND NOT EXISTS (SELECT FROM target t WHERE t.team = k.team AND t.fault IS NOT NULL)
  ), unnamed AS MATERIALIZED (
    SELECT f.team, e.id, e.contact FROM existing e JOIN fine f ON f.organization = e.organization_id
    WHERE f.replaces AND e.integration
      AND NOT EXISTS (SELECT FROM target t WHERE t.id = e.id) AND NOT EXISTS (SELECT FROM same s WHERE s.id = e.id)
  ), removed AS (
    DELETE FROM contacts c
    WHERE c.account_id = account AND c.id = ANY (ARRAY(SELECT u.id FROM unnamed u WHERE NOT is_dry))
    RETURNING c.organization_id
  ), wanted AS MATERIALIZED (
    SELECT nextval(sequence) AS new_id, w.* FROM (
      SELECT g.* FROM same s JOIN fine f ON f.team = s.team JOIN given g ON g.place = s.place
      WHERE s.id IS NULL AND NOT is_dry ORDER BY g.place
    ) w
  ), added AS (
    INSERT INTO contacts AS c (account_id, id, organization_id, channel, label, value, integration)
    SELECT account, w.new_id, w.organization, w.channel, w.label, w.value, w.integration FROM wanted w
    RETURNING c.id, c.organization_id, c AS contact
  ), looked_up AS (
    INSERT INTO contact_lookups (account_id, channel, key, contact_id)
    SELECT account, w.channel, key, w.new_id FROM wanted w, unnest(w.keys) AS key
  ), changed AS (
    UPDATE contacts c SET label = g.label, value = g.value, integration = coalesce(g.integration, c.integration),
      version = c.version + 1, updated_at = clock_timestamp()
    FROM target t JOIN fine f ON f.team = t.team JOIN given g ON g.place = t.place
    WHERE c.account_id = account AND c.id = t.id AND t.is_changed
      AND c.id = ANY (ARRAY(SELECT t.id FROM target t WHERE t.is_changed AND NOT is_dry))
    RETURNING c.id, c.organization_id, c.channel, g.keys, g.place, c AS contact
  ), looked_up_anew AS MATERIALIZED (
    SELECT c.place, set_contact_keys(account, c.id, c.channel, c.keys) AS id FROM changed c
  ), revision AS (
    UPDATE organizations o SET contacts_revision = o.contacts_revision + 1
    WHERE o.account_id = account AND o.id = ANY (ARRAY(
      SELECT r.organization_id FROM removed r
      UNION SELECT a.organization_id FROM added a
      UNION SELECT c.organization_id FROM changed c
    ))
  )
  SELECT k.team, NULL::integer, 'NO_ORGANIZATION', NULL::contacts FROM known k WHERE k.organization IS NULL
  UNION ALL
  SELECT t.team, t.place, t.fault, t.contact FROM target t WHERE t.fault IS NOT NULL
  UNION ALL
  SELECT t.team, t.place, CASE WHEN t.is_changed THEN 'updated' ELSE 'unchanged' END, coalesce(c.contact, t.contact)
  FROM target t JOIN fine f ON f.team = t.team
  LEFT JOIN changed c ON c.place = t.place LEFT JOIN looked_up_anew l ON l.place = t.place
  UNION ALL
  SELECT s.team, s.place, CASE WHEN s.id IS NULL THEN 'created' ELSE 'unchanged' END, coalesce(a.contact, s.contact)
  FROM same s JOIN fine f ON f.team = s.team
  LEFT JOIN wanted w ON w.place = s.place LEFT JOIN added a ON a.id = w.new_id
  UNION ALL
  SELECT u.team, NULL, 'deleted', u.contact FROM unnamed u;
END
$$;
--> statement-breakpoint
-- Creates and changes organizations: [{"place", "id", "name", "parent_id", "parent", "keeps_parent", "disabled", "source",
-- "keeps_source", "source_id", "keeps_source_id"}]. One without an id is the one of its name, or new. Parents are named by id
-- or by name, and may be new themselves. What is not given stays where `keeps_…` says so, and so does `disabled`. Faulty
-- ones are left out, with those that they would be above. Moves within an account wait for each other here.
CREATE FUNCTION import_organizations(account bigint, asked jsonb, is_dry boolean)
RETURNS TABLE (place integer, outcome text, organization bigint)
LANGUAGE plpgsql VOLATILE SET enable_nestloop = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  sequence regclass := pg_get_serial_sequence('organizations', 'id');
BEGIN
  IF NOT is_dry THEN
    PERFORM FROM accounts a WHERE a.id = account FOR NO KEY UPDATE;
  END IF;

  RETURN QUERY
  WITH RECURSIVE placed AS MATERIALIZED (
    SELECT g.*, o.id AS known_id, o.parent_id AS old_parent_id,
      coalesce(o.id, nextval(sequence)) AS own_id,
      row_number() OVER (PARTITION BY g.name ORDER BY g.place) AS nth_of_name,
      CASE WHEN o.id IS NOT NULL THEN row_number() OVER (PARTITION BY o.id ORDER BY g.place) ELSE 1 END AS nth_of_id,
      o.name AS old_name, o.disabled AS old_disabled, o.source AS old_source, o.source_id AS old_source_id
    FROM jsonb_to_recordset(asked) AS g(place integer, id bigint, name text, parent_id bigint, parent text,
      keeps_parent boolean, disabled boolean, source text, keeps_source boolean, source_id text, keeps_source_id boolean)
    LEFT JOIN LATERAL (
      SELECT o.* FROM organizations o WHERE o.account_id = account AND o.id = g.id
      UNION ALL
      SELECT o.* FROM organizations o WHERE g.id IS NULL AND o.account_id = account AND o.name = g.name
    ) o ON true
  ), linked AS MATERIALIZED (
    SELECT p.*, CASE
        WHEN p.keeps_parent THEN p.old_parent_id
        WHEN p.parent_id IS NOT NULL THEN stored.id
        WHEN p.parent IS NOT NULL THEN coalesce(beside.own_id, named.id)
      END AS new_parent_id
    FROM placed p
    LEFT JOIN placed beside ON beside.name = p.parent AND beside.nth_of_name = 1
    LEFT JOIN LATERAL (
      SELECT o.id FROM organizations o WHERE o.account_id = account AND o.id = p.parent_id LIMIT 1
    ) stored ON true
    LEFT JOIN LATERAL (
      SELECT o.id FROM organizations o WHERE o.account_id = account AND o.name = p.parent LIMIT 1
    ) named ON true
  ), up(start, at) AS (
    -- From each one that moves up to its root, as it is to be.
    SELECT l.own_id, l.new_parent_id FROM linked l
    WHERE l.new_parent_id IS DISTINCT FROM l.old_parent_id AND l.nth_of_id = 1
    UNION
    SELECT up.start, CASE WHEN l.own_id IS NULL THEN o.parent_id ELSE l.new_parent_id END
    FROM up
    LEFT JOIN linked l ON l.own_id = up.at AND l.nth_of_id = 1
    LEFT JOIN LATERAL (
      SELECT o.parent_id FROM organizations o WHERE o.account_id = account AND o.id = up.at LIMIT 1
    ) o ON true
    WHERE up.at <> up.start
  ), judged AS MATERIALIZED (
    SELECT l.*, CASE
        WHEN l.id IS NOT NULL AND l.known_id IS NULL THEN 'MISSING'
        WHEN l.nth_of_name > 1 OR l.nth_of_id > 1 THEN 'DUPLICATE'
        WHEN l.id IS NOT NULL AND EXISTS (
          SELECT FROM organizations n WHERE n.account_id = account AND n.name = l.name AND n.id <> l.id
        ) THEN 'NAME_TAKEN'
        WHEN NOT coalesce(l.keeps_parent, false) AND coalesce(l.parent_id::text, l.parent) IS NOT NULL
          AND l.new_parent_id IS NULL THEN 'NO_PARENT'
        WHEN EXISTS (SELECT FROM up WHERE up.start = l.own_id AND up.at = l.own_id) THEN 'CYCLE'
      END AS fault,
      (l.name, l.new_parent_id, coalesce(l.disabled, l.old_disabled),
        CASE WHEN l.keeps_source THEN l.old_source ELSE l.source END,
        CASE WHEN l.keeps_source_id THEN l.old_source_id ELSE l.source_id END)
        IS DISTINCT FROM (l.old_name, l.old_parent_id, l.old_disabled, l.old_source, l.old_source_id) AS is_changed
    FROM linked l
  ), decided AS MATERIALIZED (
    SELECT j.*, coalesce(j.fault, CASE
        WHEN EXISTS (SELECT FROM up JOIN judged above ON above.own_id = up.at AND above.nth_of_id = 1
          WHERE up.start = j.own_id AND above.fault IS NOT NULL) THEN 'PARENT_REFUSED'
        WHEN j.known_id IS NULL THEN 'created'
        WHEN j.is_changed THEN 'updated'
        ELSE 'unchanged'
      END) AS outcome
    FROM judged j
  ), locked AS MATERIALIZED (
    -- In the order in which others lock several.
    SELECT o.id FROM organizations o
    WHERE o.account_id = account
      AND o.id = ANY (ARRAY(SELECT d.known_id FROM decided d WHERE d.outcome = 'updated' AND NOT is_dry))
    ORDER BY o.id FOR NO KEY UPDATE
  ), created AS (
    INSERT INTO organizations (account_id, id, name, parent_id, disabled, source, source_id)
    SELECT account, d.own_id, d.name, d.new_parent_id, coalesce(d.disabled, false), d.source, d.source_id
    FROM decided d WHERE d.outcome = 'created' AND NOT is_dry
  ), updated AS (
    UPDATE organizations o SET
      name = d.name,
      parent_id = d.new_parent_id,
      disabled = coalesce(d.disabled, o.disabled),
      source = CASE WHEN d.keeps_source THEN o.source ELSE d.source END,
      source_id = CASE WHEN d.keeps_source_id THEN o.source_id ELSE d.source_id END,
      updated_at = clock_timestamp()
    FROM decided d WHERE o.account_id = account AND o.id = d.known_id AND d.outcome = 'updated'
      AND o.id = ANY (ARRAY(SELECT l.id FROM locked l))
  )
  SELECT d.place, d.outcome, d.own_id FROM decided d ORDER BY d.place;
END
$$;
--> statement-breakpoint
-- Imports organizations of another system, and remembers which is which: [{"place", "foreign_id", "name",
-- "parent_foreign_id", "disabled", "source", "source_id", "updated_at"}].
CREATE FUNCTION pull_organizations(account bigint, pull bigint, asked jsonb)
RETURNS TABLE (place integer, outcome text)
LANGUAGE sql VOLATILE AS $$
  WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(asked) AS g(place integer, foreign_id bigint, name text, parent_foreign_id bigint,
      disabled boolean, source text, source_id text, updated_at text)
  ), imported AS MATERIALIZED (
    SELECT i.* FROM import_organizations(account, (
      SELECT coalesce(jsonb_agg(jsonb_build_object(
        'place', g.place, 'id', own.organization_id, 'name', g.name,
        'parent_id', above.organization_id, 'parent', CASE WHEN above.organization_id IS NULL THEN beside.name END,
        'disabled', g.disabled, 'source', g.source, 'source_id', g.source_id)), '[]')
      FROM given g
      LEFT JOIN LATERAL (
        SELECT p.organization_id FROM pulled_organizations p
        WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = g.foreign_id LIMIT 1
      ) own ON true
      LEFT JOIN LATERAL (
        SELECT p.organization_id FROM pulled_organizations p
        WHERE p.account_id = account AND p.pull_id = pull AND p.foreign_id = g.parent_foreign_id LIMIT 1
      ) above ON true
      LEFT JOIN given beside ON beside.foreign_id = g.parent_foreign_id
    ), false) i
  ), remembered AS (
    INSERT INTO pulled_organizations (account_id, pull_id, foreign_id, organization_id, updated_at)
    SELECT account, pull, g.foreign_id, i.organization, g.updated_at
    FROM imported i JOIN given g ON g.place = i.place
    WHERE i.outcome IN ('created', 'updated', 'unchanged')
    ON CONFLICT (account_id, pull_id, foreign_id) DO UPDATE
    SET organization_id = excluded.organization_id, updated_at = excluded.updated_at
  ), replaced AS (
    -- There it was made anew under its name: it is the same here, and not gone.
    DELETE FROM pulled_organizations p USING imported i, given g
    WHERE p.account_id = account AND p.pull_id = pull AND p.organization_id = i.organization
      AND g.place = i.place AND p.foreign_id <> g.foreign_id AND i.outcome IN ('created', 'updated', 'unchanged')
  )
  SELECT i.place, i.outcome FROM imported i ORDER BY i.place;
$$;
--> statement-breakpoint
-- Makes the contacts that an organization has from another system those that are given: [{"place", "foreign_id", "channel",
-- "label", "value", "integration", "keys"}]. Those that came from there before and are not named are removed, or have
-- moved; contacts that were added here stay. One that is gone is disabled, too, and forgotten. No row where there is no such
-- organization.
CREATE FUNCTION pull_contacts(account bigint, pull bigint, foreign_organization bigint, asked jsonb, tag text, is_gone boolean)
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
    RETURNING c.organization_id
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
