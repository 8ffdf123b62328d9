import { toEntryRefusal } from '../auth/gate.ts'
import { type OpenStream, readBy, StreamStopped } from '../auth/streams.ts'
import { organizationId } from '../domain/contacts.ts'
import { ValidationError } from '../domain/errors.ts'
import type { ContactEvent } from '../domain/events.ts'
import { readFlag } from '../domain/parse.ts'
import { eventStream } from '../http/event-stream.ts'
import { StreamEnded } from '../live/feed.ts'
import { contactFields, readId, singleFields } from './contacts.ts'
import { type ErrorStatus, RestError, reasons, toRestError } from './errors.ts'
import { show } from './fields.ts'
import type { Call, Reply, Route } from './router.ts'
import { tagOf } from './tags.ts'

// The changes to contacts as server-sent events.

export const eventRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/organizations/:organization_id/contacts/events',
    type: 'text/event-stream',
    handle: open,
  },
]

async function open(call: Call): Promise<Reply> {
  const { ctx, params, feed, logUnexpected } = call
  const input = { organizationId: readId(organizationId, params.organization_id), ...parametersOf(call) }
  const stream = letIn(call)
  try {
    const { cursor, events } = await feed.subscribe(ctx, input, stream.signal)
    return replyBy(stream, events, eventOf('ready', { cursor }, cursor), logUnexpected)
  } catch (error) {
    stream.close()
    // A browser that goes on from an old place sees neither the status nor the body of a refusal, and tries no more.
    if (error instanceof StreamEnded) return replyBy(stream, nothing(), endOf(error), logUnexpected)
    throw error instanceof ValidationError ? new RestError(400, { message: error.message }) : error
  }
}

/** For as long as the stream is open, nothing of the call is kept. */
function replyBy(
  stream: OpenStream,
  events: AsyncIterable<ContactEvent>,
  first: string,
  logUnexpected: Call['logUnexpected'],
): Reply {
  const items = readBy(stream, events)
  const end = (error: unknown) => (error === undefined ? '' : endOf(endingOf(error, logUnexpected)))
  return { status: 200, stream: eventStream({ first, items, show: showChange, end }) }
}

async function* nothing() {}

function parametersOf({ url, headers }: Call): { includeDescendants: boolean | undefined; after: string | undefined } {
  const given = url.searchParams.get(descendantsParameter)
  const includeDescendants = given === null ? undefined : readFlag(given)
  if (typeof includeDescendants === 'string')
    throw new RestError(400, { message: `Parameter '${descendantsParameter}' must be true or false` })
  // Browsers send the one after which the stream broke off; the other is where it was to begin.
  const after = headers.get('last-event-id') || url.searchParams.get('after') || undefined
  return { includeDescendants: includeDescendants as boolean | undefined, after }
}

const descendantsParameter = 'include_descendants'

/** Counts the stream in; or refuses it as requests are refused that are too many. */
function letIn({ openStream }: Call): OpenStream {
  try {
    return openStream()
  } catch (error) {
    const { status, headers } = toEntryRefusal(error)
    throw new RestError(status, { message: reasons[status as ErrorStatus] }, headers)
  }
}

function showChange(event: ContactEvent): string {
  const { kind, cursor, organizationId: organization_id } = event
  if (kind === 'removed') {
    return eventOf(kind, { organization_id, id: event.contactId, etag: tagOf(event.version) }, cursor)
  }
  if (kind === 'cleared') return eventOf(kind, { organization_id, ids: event.contactIds }, cursor)
  const { contact } = event
  const shown = { organization_id, ...show(contact, contactFields, singleFields), etag: tagOf(contact.version) }
  return eventOf(kind, shown, cursor)
}

interface Ending {
  code: string
  message: string
}

/** Why a stream ends, for those who read it. */
function endingOf(error: unknown, logUnexpected: Call['logUnexpected']): Ending {
  if (error instanceof StreamStopped || error instanceof StreamEnded) return error
  logUnexpected(error)
  const known = toRestError(error)
  return known
    ? { code: 'SERVICE_UNAVAILABLE', message: known.message }
    : { code: 'INTERNAL_SERVER_ERROR', message: reasons[500] }
}

/** Readers that try again by themselves go on after the last event, unless that is what cannot be. */
const endOf = ({ code, message }: Ending) =>
  eventOf('end', { code, message }, code === 'CURSOR_EXPIRED' ? '' : undefined)

/** JSON has no line breaks, and cursors neither. */
function eventOf(name: string, data: object, id?: string): string {
  const place = id === undefined ? '' : `id: ${id}\n`
  return `${place}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
