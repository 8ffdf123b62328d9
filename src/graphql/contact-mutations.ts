import type { InputRef } from '@pothos/core'
import { type Channel, maxLength } from '../db/tables.ts'
import { changeContacts, maxChangesPerList } from '../domain/change-contacts.ts'
import { channelNames, channels } from '../domain/channels.ts'
import {
  addContact,
  type Contact as ContactRow,
  clearContacts,
  removeContact,
  updateContact,
} from '../domain/contacts.ts'
import { encodeId } from '../domain/ids.ts'
import { type ImportOutcome, importContacts, maxImported } from '../domain/import-contacts.ts'
import { builder } from './builder.ts'
import { Contact, labelValues } from './contacts.ts'
import { pageOf } from './relay.ts'
import { defineMutation } from './results.ts'

// The inputs have the shape that the verbs parse; a label enum for each channel shows the rule.

const labelInputs = Object.fromEntries(
  channelNames.map((channel) => [
    channel,
    builder.enumType(`${channels[channel].typename}Label`, {
      description: `The labels that contacts of the channel ${channel} have.`,
      values: labelValues(channels[channel].labels),
    }),
  ]),
)

const valueDescription = (channel: Channel) =>
  `${channels[channel].description} At most ${maxLength.contactValue} characters, trimmed.`
const integrationDescription = 'Whether an integration maintains it.'

/** A field for each channel, of an input type of its own. */
const oneOfChannels = (name: string, description: string, detailsOf: (channel: Channel) => InputRef<object>) => {
  const details = channelNames.map((channel) => [channel, detailsOf(channel)] as const)
  return builder.inputType(name, {
    description: `${description} Exactly one channel must be given.`,
    isOneOf: true,
    fields: (t) =>
      Object.fromEntries(
        details.map(([channel, type]) => [channel, t.field({ type, description: channels[channel].description })]),
      ),
  })
}

const NewContact = oneOfChannels('NewContact', 'A contact to add.', (channel) =>
  builder.inputType(`New${channels[channel].typename}`, {
    description: `A contact of the channel ${channel} to add.`,
    fields: (t) => ({
      label: t.field({ type: labelInputs[channel]!, required: true, description: 'What it is for.' }),
      value: t.string({ required: true, description: valueDescription(channel) }),
      integration: t.boolean({ defaultValue: false, description: integrationDescription }),
    }),
  }),
)

const ContactChange = oneOfChannels(
  'ContactChange',
  'A change to a contact, under the channel that the contact has: a channel never changes.',
  (channel) =>
    builder.inputType(`${channels[channel].typename}Change`, {
      description: `A change to a contact of the channel ${channel}. What is absent stays as it is; null is refused.`,
      fields: (t) => ({
        label: t.field({ type: labelInputs[channel]!, description: 'What it is for.' }),
        value: t.string({ description: valueDescription(channel) }),
        integration: t.boolean({ description: integrationDescription }),
      }),
    }),
)

const contactIdDescription = 'The contact: a global id, or the integer of the REST API.'
const organizationIdDescription = 'The organization: a global id, or the integer of the REST API.'
const ifVersionDescription = 'The version that the contact is expected to have; a ConflictError tells when it has not.'

const AddContactInput = builder.inputType('AddContactInput', {
  description: 'Which contact to add, and where.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: organizationIdDescription }),
    contact: t.field({ type: NewContact, required: true, description: 'The contact, under its channel.' }),
  }),
})

const UpdateContactInput = builder.inputType('UpdateContactInput', {
  description: 'Which contact to change, and how.',
  fields: (t) => ({
    id: t.id({ required: true, description: contactIdDescription }),
    ifVersion: t.int({ description: ifVersionDescription }),
    change: t.field({
      type: ContactChange,
      required: true,
      description: 'The change, under the channel of the contact.',
    }),
  }),
})

const RemoveContactInput = builder.inputType('RemoveContactInput', {
  description: 'Which contact to remove.',
  fields: (t) => ({
    id: t.id({ required: true, description: contactIdDescription }),
    ifVersion: t.int({ description: ifVersionDescription }),
  }),
})

const ClearContactsInput = builder.inputType('ClearContactsInput', {
  description: 'Whose contacts to remove.',
  fields: (t) => ({ organizationId: t.id({ required: true, description: organizationIdDescription }) }),
})

const listLimit = `At most ${maxChangesPerList}.`

const ChangeContactsInput = builder.inputType('ChangeContactsInput', {
  description: 'Several changes to the contacts of one organization. A contact may be named once.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: organizationIdDescription }),
    add: t.field({ type: [NewContact], description: `The contacts to add. ${listLimit}` }),
    update: t.field({ type: [UpdateContactInput], description: `The contacts to change. ${listLimit}` }),
    remove: t.field({ type: [RemoveContactInput], description: `The contacts to remove. ${listLimit}` }),
  }),
})

const ImportMode = builder.enumType('ImportMode', {
  description: 'What becomes of the contacts that an import does not name.',
  values: {
    MERGE: { description: 'All of them stay.' },
    REPLACE_INTEGRATION: {
      description: 'Those that an integration maintains are removed, and the others stay.',
    },
  },
})

const ImportedContact = builder.inputType('ImportedContact', {
  description:
    'A contact as it is to be. Without an id, it is there already if a contact is the same in channel, label, value ' +
    'and integration, and is added otherwise; of several that are the same, each counts.',
  fields: (t) => ({
    id: t.id({
      description:
        'The contact to change in all its parts, under the channel that it has: a global id, or the integer of the ' +
        'REST API. It must be one of the organization.',
    }),
    contact: t.field({ type: NewContact, required: true, description: 'The contact, under its channel.' }),
  }),
})

const ImportContactsInput = builder.inputType('ImportContactsInput', {
  description: 'Which contacts an organization is to have. An id may be named once.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: organizationIdDescription }),
    contacts: t.field({
      type: [ImportedContact],
      required: true,
      description: `The contacts to import. At most ${maxImported}.`,
    }),
    mode: t.field({
      type: ImportMode,
      defaultValue: 'MERGE',
      description: 'What becomes of the contacts that are not named. Null is refused.',
    }),
  }),
})

const ImportOutcomeType = builder.enumType('ImportOutcome', {
  description: 'What became of an imported contact.',
  values: {
    CREATED: { value: 'created', description: 'It was added.' },
    UPDATED: { value: 'updated', description: 'It was named by its id, and changed.' },
    UNCHANGED: { value: 'unchanged', description: 'It was there already, just so.' },
  } satisfies Record<string, { value: ImportOutcome; description: string }>,
})

const ContactImportResult = builder
  .objectRef<{ outcome: ImportOutcome; contact: ContactRow }>('ContactImportResult')
  .implement({
    description: 'What an import did with one contact.',
    fields: (t) => ({
      outcome: t.expose('outcome', { type: ImportOutcomeType, description: 'What became of it.' }),
      contact: t.expose('contact', { type: Contact, description: 'The contact as it is now.' }),
    }),
  })

const removedId = (id: number) => encodeId('Contact', id)

defineMutation('addContact', {
  description: 'Adds a contact to an organization.',
  input: AddContactInput,
  inputDescription: 'Which contact to add, and where.',
  verb: addContact,
  show: (contact) => ({ organizationId: contact.organizationId, contact }),
  fields: (t) => ({
    contact: t.expose('contact', { type: Contact, description: 'The contact as it was added.' }),
  }),
})

defineMutation('updateContact', {
  description: 'Changes a contact. The version goes up by one, unless there is nothing to change.',
  input: UpdateContactInput,
  inputDescription: 'Which contact to change, and how.',
  verb: updateContact,
  show: (contact) => ({ organizationId: contact.organizationId, contact }),
  fields: (t) => ({
    contact: t.expose('contact', { type: Contact, description: 'The contact as it is now.' }),
  }),
})

defineMutation('removeContact', {
  description: 'Removes a contact.',
  input: RemoveContactInput,
  inputDescription: 'Which contact to remove.',
  verb: removeContact,
  show: ({ id, organizationId }) => ({ organizationId, removedContactId: removedId(id) }),
  fields: (t) => ({
    removedContactId: t.exposeID('removedContactId', { description: 'The global id of what is gone.' }),
  }),
})

defineMutation('clearContacts', {
  description: 'Removes all contacts of an organization.',
  input: ClearContactsInput,
  inputDescription: 'Whose contacts to remove.',
  verb: clearContacts,
  show: ({ organizationId, ids }) => ({ organizationId, removedContactIds: ids.map(removedId) }),
  fields: (t) => ({
    removedContactIds: t.exposeIDList('removedContactIds', {
      description: 'The global ids of exactly what is gone, in list order.',
    }),
  }),
})

defineMutation('changeContacts', {
  description: 'Adds, changes and removes contacts of one organization: all of it, or nothing.',
  input: ChangeContactsInput,
  inputDescription: 'What to change, and whose contacts they are.',
  verb: changeContacts,
  show: ({ removedIds, ...changes }) => ({ ...changes, removedContactIds: removedIds.map(removedId) }),
  fields: (t) => ({
    added: t.expose('added', {
      type: [Contact],
      extensions: pageOf(maxChangesPerList),
      description: 'The contacts as they were added, in the order of the input.',
    }),
    updated: t.expose('updated', {
      type: [Contact],
      extensions: pageOf(maxChangesPerList),
      description: 'The contacts as they are now, in the order of the input.',
    }),
    removedContactIds: t.exposeIDList('removedContactIds', {
      description: 'The global ids of what is gone, in the order of the input.',
    }),
  }),
})

defineMutation('importContacts', {
  description:
    'Makes sure that an organization has the given contacts: all of it, or nothing. Sent again, it changes nothing.',
  input: ImportContactsInput,
  inputDescription: 'The contacts, and whose they are.',
  verb: importContacts,
  show: ({ removedIds, ...imported }) => ({ ...imported, removedContactIds: removedIds.map(removedId) }),
  fields: (t) => ({
    results: t.expose('results', {
      type: [ContactImportResult],
      extensions: pageOf(maxImported),
      description: 'What became of each contact, in the order of the input.',
    }),
    removedContactIds: t.exposeIDList('removedContactIds', {
      description: 'The global ids of what is gone, in list order.',
    }),
  }),
})
