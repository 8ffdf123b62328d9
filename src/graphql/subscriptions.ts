import { GraphQLError, Kind, OperationTypeNode, type SelectionSetNode, type ValidationRule } from 'graphql'
import { NotFoundError, ValidationError } from '../domain/errors.ts'
import type { ContactEvent } from '../domain/events.ts'
import { encodeId } from '../domain/ids.ts'
import { StreamEnded } from '../live/feed.ts'
import { builder } from './builder.ts'
import { Contact } from './contacts.ts'
import { badUserInput, type TopLevelCode } from './errors.ts'
import { Organization, organizationOf } from './organizations.ts'

// The changes to contacts, as a subscription.

builder.subscriptionType({
  description:
    'Where every subscription begins: by server-sent events (send `accept: text/event-stream`) or by WebSocket (`graphql-transport-ws`), at the same address.',
})

type Written = Extract<ContactEvent, { contact: unknown }>
type Removed = Extract<ContactEvent, { kind: 'removed' }>
type Cleared = Extract<ContactEvent, { kind: 'cleared' }>

const ContactsChangeDetails = builder.interfaceRef<ContactEvent>('ContactsChangeDetails').implement({
  description: 'What all changes have in common.',
  fields: (t) => ({
    cursor: t.exposeString('cursor', {
      description: 'The place in the stream after this change. Send it as `after` to go on from there.',
    }),
    organization: t.field({
      type: Organization,
      description: 'Whose contacts have changed, as it is now.',
      resolve: ({ organizationId }, _args, { loaders }) => organizationOf(loaders, organizationId),
    }),
  }),
})

const contactNow = 'The contact as this change has left it; it may have changed again since.'

const ContactAdded = builder.objectRef<Written>('ContactAdded').implement({
  description: 'A contact was added.',
  interfaces: [ContactsChangeDetails],
  fields: (t) => ({
    contact: t.field({ type: Contact, description: contactNow, resolve: ({ contact }) => contact as never }),
  }),
})

const ContactUpdated = builder.objectRef<Written>('ContactUpdated').implement({
  description: 'A contact was changed.',
  interfaces: [ContactsChangeDetails],
  fields: (t) => ({
    contact: t.field({ type: Contact, description: contactNow, resolve: ({ contact }) => contact as never }),
  }),
})

const ContactRemoved = builder.objectRef<Removed>('ContactRemoved').implement({
  description: 'A contact was removed.',
  interfaces: [ContactsChangeDetails],
  fields: (t) => ({
    contactId: t.id({
      description: 'The global id that it had.',
      resolve: ({ contactId }) => encodeId('Contact', contactId),
    }),
    version: t.exposeInt('version', { description: 'The version that it had at last.' }),
  }),
})

const ContactsCleared = builder.objectRef<Cleared>('ContactsCleared').implement({
  description: 'All contacts of an organization were removed at once.',
  interfaces: [ContactsChangeDetails],
  fields: (t) => ({
    contactIds: t.idList({
      description: 'The global ids that they had.',
      resolve: ({ contactIds }) => contactIds.map((id) => encodeId('Contact', id)),
    }),
  }),
})

const typeNames: Record<ContactEvent['kind'], string> = {
  added: 'ContactAdded',
  updated: 'ContactUpdated',
  removed: 'ContactRemoved',
  cleared: 'ContactsCleared',
}

const ContactsChange = builder.unionType('ContactsChange', {
  description: 'A change to the contacts of an organization. Each member implements `ContactsChangeDetails`.',
  types: [ContactAdded, ContactUpdated, ContactRemoved, ContactsCleared],
  resolveType: ({ kind }) => typeNames[kind],
})

builder.subscriptionField('contactsChanged', (t) =>
  t.field({
    type: ContactsChange,
    description:
      'The changes to the contacts of an organization from now on, those of one organization in the order in which they were committed, none missing and none twice. ' +
      'Subscribe first and read the lists then, so that nothing is missed in between. ' +
      'When the connection is lost, subscribe again with the cursor of the last change as `after`. ' +
      'A stream ends with an error whose code says what to do. SHUTTING_DOWN, SLOW_CONSUMER (too many changes waited to be read) and RATE_LIMITED: subscribe again with `after`. ' +
      'CURSOR_EXPIRED: what has changed since the cursor is not known any more, so subscribe without `after` and read the lists again. ' +
      'UNAUTHENTICATED and FORBIDDEN: the token is not valid any more, or may not do this any more.',
    args: {
      organizationId: t.arg.id({ required: true, description: 'A global id, or the integer of the REST API.' }),
      includeDescendants: t.arg.boolean({
        defaultValue: false,
        description: 'Whether to bring the changes to the contacts of all organizations beneath it as well.',
      }),
      after: t.arg.string({ description: 'The cursor of a change: bring what came after it, and go on from there.' }),
    },
    subscribe: async (_root, args, { subscribe }) => {
      try {
        return await subscribe!(args)
      } catch (error) {
        if (error instanceof ValidationError) throw badUserInput(error.issues)
        const code = codeOf(error)
        if (!code) throw error
        throw new GraphQLError((error as Error).message, { extensions: { code } })
      }
    },
    resolve: (event) => event as never,
  }),
)

/** Of what the caller is to be told when no stream begins. */
function codeOf(error: unknown): TopLevelCode | undefined {
  if (error instanceof NotFoundError) return 'NOT_FOUND'
  return error instanceof StreamEnded ? error.code : undefined
}

const conditions: readonly string[] = ['skip', 'include']

/** A subscription whose field was left out would be none; graphql 16 stumbles over it. */
export const unconditionalSubscriptions: ValidationRule = (context) => ({
  OperationDefinition({ operation, selectionSet }) {
    if (operation !== OperationTypeNode.SUBSCRIPTION) return
    const message = 'The field of a subscription must not have @skip or @include.'
    // A set grows while it is gone through, and a fragment is looked at once.
    const sets = new Set<SelectionSetNode>([selectionSet])
    for (const { selections } of sets) {
      for (const selection of selections) {
        const condition = selection.directives?.find(({ name }) => conditions.includes(name.value))
        if (condition) context.reportError(new GraphQLError(message, { nodes: condition }))
        if (selection.kind === Kind.FIELD) continue
        const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? context.getFragment(selection.name.value) : selection
        if (fragment) sets.add(fragment.selectionSet)
      }
    }
  },
})
