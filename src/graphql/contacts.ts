import { type Channel, contactChannel, contactLabel, type Label } from '../db/tables.ts'
import { channelNames, channels, labelDescriptions } from '../domain/channels.ts'
import {
  contactListArguments,
  contactSearchArguments,
  countFound,
  defaultContactPageSize,
  searchContacts,
  searchOrder,
} from '../domain/contact-lists.ts'
import type { Contact as ContactRow } from '../domain/contacts.ts'
import { idOf } from '../domain/ids.ts'
import { findNumbers } from '../domain/telephone.ts'
import { builder, parsedOnce } from './builder.ts'
import { Organization, organizationOf } from './organizations.ts'
import { type Connection, defineConnection, Node, pageArguments, pageOf } from './relay.ts'
import { selectsAnyOf } from './selection.ts'

const upper = (name: string) => name.toUpperCase()

const ContactChannel = builder.enumType('ContactChannel', {
  description: `The ways of reaching an organization. Lists have them in this order: ${contactChannel.enumValues.map(upper).join(', ')}.`,
  values: Object.fromEntries(
    contactChannel.enumValues.map((channel) => [
      upper(channel),
      { value: channel, description: channels[channel].description },
    ]),
  ) as Record<string, { value: Channel; description: string }>,
})

export const labelValues = (labels: readonly Label[]) =>
  Object.fromEntries(
    labels.map((label) => [upper(label), { value: label, description: labelDescriptions[label] }]),
  ) as Record<string, { value: Label; description: string }>

const ContactLabel = builder.enumType('ContactLabel', {
  description: `What a contact is for. Within a channel, lists have them in this order: ${contactLabel.enumValues.map(upper).join(', ')}. Which labels a channel takes is told by the enums of the inputs.`,
  values: labelValues(contactLabel.enumValues),
})

export const ContactDetails = builder.interfaceRef<ContactRow>('ContactDetails').implement({
  description: 'What contacts of all channels have in common. One fragment on it reads every contact.',
  interfaces: [Node],
  fields: (t) => ({
    databaseId: t.expose('id', { type: 'SafeInt', description: 'The integer id, as the REST API has it.' }),
    channel: t.expose('channel', {
      type: ContactChannel,
      description: 'How it reaches the organization. It never changes.',
    }),
    label: t.expose('label', { type: ContactLabel, description: 'What it is for.' }),
    value: t.exposeString('value', { description: 'The text exactly as it was entered, whatever the channel.' }),
    href: t.string({
      nullable: true,
      description:
        'A link to follow: `tel:`, `mailto:` or `https:`, never another scheme. Null where the text makes no safe one.',
      resolve: ({ channel, value }) => channels[channel].href(value),
    }),
    integration: t.exposeBoolean('integration', {
      description:
        'Whether an integration maintains it. User interfaces show such a contact read-only; the API may still write it.',
    }),
    version: t.exposeInt('version', {
      description: 'From 1, one more with each change. Send it as `ifVersion` to notice changes of others.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was added.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
    organization: t.field({
      type: Organization,
      description: 'Whose contact it is.',
      resolve: ({ organizationId }, _args, { loaders }) => organizationOf(loaders, organizationId),
    }),
  }),
})

const members = channelNames.map((channel) =>
  builder.objectRef<ContactRow>(channels[channel].typename).implement({
    description: channels[channel].description,
    interfaces: [Node, ContactDetails],
    fields: (t) => ({
      [channel]: t.exposeString('value', {
        description: 'The same as `value`, under the name that the REST API gives it.',
      }),
    }),
  }),
)

builder.objectField(members[channelNames.indexOf('telephone')]!, 'numbers', (t) =>
  t.stringList({
    description:
      'The valid numbers with a country code that the text holds, as E.164. Letters are read as on a keypad: ' +
      '`+1 (800) 4-BEST-IT` holds `+18004237848`. Empty where there are none.',
    resolve: ({ value }) => findNumbers(value),
  }),
)

export const Contact = builder.unionType('Contact', {
  description: 'A contact of one of the channels. Each member implements `ContactDetails`; more channels may come.',
  types: members,
})

const ContactConnection = defineConnection<ContactRow>('Contact', Contact, 'contacts')

/** The fields that take more than the summary of a contact. */
const selectsDetails = selectsAnyOf('version', 'createdAt', 'updatedAt')

const ContactFilter = builder.inputType('ContactFilter', {
  description:
    'Which contacts of a list to show. What is absent or null does not filter; an empty list matches nothing.',
  fields: (t) => ({
    channels: t.field({ type: [ContactChannel], description: 'Only these channels.' }),
    labels: t.field({ type: [ContactLabel], description: 'Only these labels.' }),
    integration: t.boolean({ description: 'Only those that an integration maintains, or only the others.' }),
  }),
})

builder.objectField(Organization, 'contacts', (t) =>
  t.field({
    type: ContactConnection,
    extensions: pageOf(defaultContactPageSize),
    description: 'Its contacts, ordered by channel, then by label, then by id.',
    args: t.validate(
      {
        ...pageArguments(t.arg, defaultContactPageSize),
        filter: t.arg({ type: ContactFilter, description: 'Which contacts to show.' }),
      },
      parsedOnce(contactListArguments),
    ),
    resolve: ({ id }, request, { loaders }, info) => {
      if (selectsDetails(info)) return loaders.contactPage(request).load(id)
      // Whoever selects nothing else sees no difference.
      return loaders.contactSummaryPage(request).load(id) as Promise<Connection<ContactRow>>
    },
  }),
)

builder.queryField('contact', (t) =>
  t.field({
    type: Contact,
    nullable: true,
    description: 'The contact with this id; null where there is none.',
    args: {
      id: t.arg
        .id({ required: true, description: 'A global id, or the integer of the REST API.' })
        .validate(idOf('Contact', 'id')),
    },
    resolve: (_root, { id }, { loaders }) => loaders.contact.load(id),
  }),
)

const ContactSearch = builder.inputType('ContactSearch', {
  description: 'What to look for, on exactly one of the channels.',
  isOneOf: true,
  fields: (t) =>
    Object.fromEntries(
      channelNames.map((channel) => [channel, t.string({ description: channels[channel].searchDescription })]),
    ),
})

builder.queryField('contacts', (t) =>
  t.field({
    type: ContactConnection,
    extensions: pageOf(defaultContactPageSize),
    description: 'Who has this number, e-mail address or website? The contacts of the whole account, ordered by id.',
    args: t.validate(
      {
        ...pageArguments(t.arg, defaultContactPageSize),
        filter: t.arg({ type: ContactSearch, required: true, description: 'What to look for.' }),
      },
      parsedOnce(contactSearchArguments),
    ),
    resolve: async (_root, { page, search }, { domain }) => ({
      page: await searchContacts(domain, search, page),
      ordering: searchOrder,
      owner: domain.account,
      count: () => countFound(domain, search),
    }),
  }),
)
