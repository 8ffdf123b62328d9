import { maxLength } from '../db/tables.ts'
import { createOrganization, updateOrganization } from '../domain/organizations.ts'
import { builder } from './builder.ts'
import { defineMutation } from './results.ts'

const describe = {
  name: `At most ${maxLength.organizationName} characters, trimmed; unique in the account, also among disabled ones.`,
  disabled: 'Whether it is out of use.',
  source: `The system that it was taken from. At most ${maxLength.source} characters.`,
  sourceID: `Its id in that system. At most ${maxLength.sourceId} characters.`,
}

const CreateOrganizationInput = builder.inputType('CreateOrganizationInput', {
  description: 'What to create.',
  fields: (t) => ({
    name: t.string({ required: true, description: describe.name }),
    parentId: t.id({
      description: 'The one above it: a global id or the integer of the REST API. Absent at the root.',
    }),
    disabled: t.boolean({ defaultValue: false, description: describe.disabled }),
    source: t.string({ description: describe.source }),
    sourceID: t.string({ description: describe.sourceID }),
  }),
})

const UpdateOrganizationInput = builder.inputType('UpdateOrganizationInput', {
  description: 'Which organization to change, and how. What is absent stays as it is.',
  fields: (t) => ({
    id: t.id({ required: true, description: 'The organization: a global id, or the integer of the REST API.' }),
    name: t.string({ description: `${describe.name} Null is refused.` }),
    parentId: t.id({ description: 'The one to move it beneath; null moves it to the root.' }),
    disabled: t.boolean({ description: `${describe.disabled} Null is refused.` }),
    source: t.string({ description: `${describe.source} Null takes it away.` }),
    sourceID: t.string({ description: `${describe.sourceID} Null takes it away.` }),
  }),
})

defineMutation('createOrganization', {
  description: 'Creates an organization, at the root or beneath another.',
  input: CreateOrganizationInput,
  inputDescription: 'What to create.',
  verb: createOrganization,
  show: ({ id }) => ({ organizationId: id }),
})

defineMutation('updateOrganization', {
  description: 'Renames, disables or moves an organization with all that is beneath it.',
  input: UpdateOrganizationInput,
  inputDescription: 'Which organization to change, and how.',
  verb: updateOrganization,
  show: ({ id }) => ({ organizationId: id }),
})
