-- What a write has answered to its key, unless that is longer ago than answers are kept. Writes with one key wait for each
-- other here, each until the one before has committed; the look-up after the wait has a snapshot of its own, and so sees
-- what that one stored. The caller's own snapshot would be from before the wait.
CREATE FUNCTION recall_answer(account bigint, given_key text, kept interval) RETURNS TABLE (fingerprint text, answer json)
LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(hashtextextended(given_key COLLATE "C", account));
  SELECT k.fingerprint, k.answer FROM idempotency_keys k
    WHERE k.account_id = account AND k.key = given_key AND k.created_at > now() - kept;
$$;
