import { z } from 'zod'
import { globalId } from '../domain/ids.ts'
import { report } from '../domain/parse.ts'
import { builder } from './builder.ts'
import type { NodeCount } from './limits.ts'
import type { Loaders } from './loaders.ts'
import { Node } from './relay.ts'

const maxNodes = 100

const load = (loaders: Loaders, { kind, id }: z.output<typeof globalId>) =>
  kind === 'Organization' ? loaders.organization.load(id) : loaders.contact.load(id)

builder.queryField('node', (t) =>
  t.field({
    type: Node,
    nullable: true,
    description: 'Whatever has this global id; null where nothing has.',
    args: { id: t.arg.id({ required: true, description: 'A global id.' }).validate(globalId) },
    resolve: (_root, { id }, { loaders }) => load(loaders, id),
  }),
)

const globalIds = z.array(globalId).superRefine((ids, context) => {
  if (ids.length > maxNodes)
    report(context, 'TOO_MANY', `ids has ${ids.length} items; at most ${maxNodes} are allowed.`)
})

builder.queryField('nodes', (t) =>
  t.field({
    type: [Node],
    nullable: { list: false, items: true },
    extensions: { nodeCount: { listArgument: 'ids' } satisfies NodeCount },
    description: 'Whatever has these global ids, in their order, with null where nothing has.',
    args: {
      ids: t.arg.idList({ required: true, description: `Global ids, at most ${maxNodes}.` }).validate(globalIds),
    },
    resolve: (_root, { ids }, { loaders }) => ids.map((id) => load(loaders, id)),
  }),
)
