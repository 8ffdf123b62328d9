import { idOf } from '../domain/ids.ts'
import {
  defaultOrganizationPageSize,
  organizationListArguments,
  type organizationOrderFields,
} from '../domain/organization-lists.ts'
import type { Organization as OrganizationRow } from '../domain/organizations.ts'
import { builder, parsedOnce } from './builder.ts'
import type { Loaders } from './loaders.ts'
import { defineConnection, Node, pageArguments, pageOf } from './relay.ts'

export const Organization = builder.objectRef<OrganizationRow>('Organization')

/** The organization that a row refers to. A foreign key holds that it exists. */
export async function organizationOf(loaders: Loaders, id: number): Promise<OrganizationRow> {
  const organization = await loaders.organization.load(id)
  if (!organization) throw new Error(`organization ${id} is referred to, but missing`)
  return organization
}

const OrganizationConnection = defineConnection<OrganizationRow>('Organization', Organization, 'organizations')

const filterFields = {
  namePrefix: 'Only names that begin so, in the same case.',
  disabled: 'Only those that are disabled, or only those that are not.',
  root: 'Only those at the root, or only those beneath another.',
  source: 'Only those from this source.',
  sourceID: 'Only those that have this id in their source.',
}

const OrganizationFilter = builder.inputType('OrganizationFilter', {
  description: 'Which organizations of a list to show. What is absent or null does not filter.',
  fields: (t) => ({
    namePrefix: t.string({ description: filterFields.namePrefix }),
    disabled: t.boolean({ description: filterFields.disabled }),
    root: t.boolean({ description: filterFields.root }),
    source: t.string({ description: filterFields.source }),
    sourceID: t.string({ description: filterFields.sourceID }),
  }),
})

const OrganizationOrderField = builder.enumType('OrganizationOrderField', {
  description: 'What organizations can be ordered by.',
  values: {
    NAME: { description: 'By name, compared by code point: capitals come before small letters.' },
    CREATED_AT: { description: 'By when they were created, the oldest first.' },
    UPDATED_AT: { description: 'By when they were last changed, the longest unchanged first.' },
  } satisfies Record<(typeof organizationOrderFields)[number], unknown>,
})

const OrderDirection = builder.enumType('OrderDirection', {
  description: 'Which end of an order comes first.',
  values: { ASC: { description: 'The least first.' }, DESC: { description: 'The greatest first.' } },
})

const OrganizationOrder = builder.inputType('OrganizationOrder', {
  description: 'How a list of organizations is ordered. A cursor belongs to the field that it was made with.',
  fields: (t) => ({
    field: t.field({ type: OrganizationOrderField, required: true, description: 'What to order by.' }),
    direction: t.field({
      type: OrderDirection,
      required: true,
      defaultValue: 'ASC',
      description: 'Which end comes first.',
    }),
  }),
})

const listArguments = (t: Parameters<typeof pageArguments>[0]) => ({
  ...pageArguments(t, defaultOrganizationPageSize),
  filter: t({ type: OrganizationFilter, description: 'Which organizations to show.' }),
  orderBy: t({ type: OrganizationOrder, description: 'By name unless given.' }),
})

const parsedListArguments = parsedOnce(organizationListArguments)

/** For the limits, whatever there are: ancestors of ancestors multiply. */
const countedAncestors = 100

Organization.implement({
  description: 'A company, a branch or a department: whatever people reach by the contacts it has.',
  interfaces: [Node],
  fields: (t) => ({
    databaseId: t.expose('id', { type: 'SafeInt', description: 'The integer id, as the REST API has it.' }),
    name: t.exposeString('name', { description: 'Unique in the account, also among disabled organizations.' }),
    disabled: t.exposeBoolean('disabled', { description: 'Whether it is out of use.' }),
    source: t.exposeString('source', { nullable: true, description: 'The system that it was taken from.' }),
    sourceID: t.exposeString('sourceId', { nullable: true, description: 'Its id in that system.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was created.' }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When it was last changed. Changes to its contacts do not count.',
    }),
    parent: t.field({
      type: Organization,
      nullable: true,
      description: 'The one above it; null at the root.',
      resolve: ({ parentId }, _args, { loaders }) => (parentId === null ? null : organizationOf(loaders, parentId)),
    }),
    ancestors: t.field({
      type: [Organization],
      extensions: pageOf(countedAncestors),
      description: 'All above it, from the root down to its parent.',
      resolve: ({ id, parentId }, _args, { loaders }) => (parentId === null ? [] : loaders.ancestors.load(id)),
    }),
    children: t.field({
      type: OrganizationConnection,
      extensions: pageOf(defaultOrganizationPageSize),
      description: 'Those directly beneath it.',
      args: t.validate(listArguments(t.arg), parsedListArguments),
      resolve: ({ id }, request, { loaders }) => loaders.childPage(request).load(id),
    }),
  }),
})

builder.queryField('organization', (t) =>
  t.field({
    type: Organization,
    nullable: true,
    description: 'The organization with this id; null where there is none.',
    args: {
      id: t.arg
        .id({ required: true, description: 'A global id, or the integer of the REST API.' })
        .validate(idOf('Organization', 'id')),
    },
    resolve: (_root, { id }, { loaders }) => loaders.organization.load(id),
  }),
)

builder.queryField('organizations', (t) =>
  t.field({
    type: OrganizationConnection,
    extensions: pageOf(defaultOrganizationPageSize),
    description: 'The organizations of the account.',
    args: t.validate(listArguments(t.arg), parsedListArguments),
    resolve: (_root, request, { loaders }) => loaders.organizationPage(request),
  }),
)
