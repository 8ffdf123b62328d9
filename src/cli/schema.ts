import { Command, Option } from 'commander'
import { ReaderGone, withOutput } from './output.ts'

interface Options {
  possibleTypes?: true
  introspection?: true
  federation?: true
}

export function schemaCommand(): Command {
  return new Command('schema')
    .description('Print the GraphQL schema, sorted, as schema.graphql has it.')
    .addOption(
      new Option('--possible-types', 'print the members of unions and interfaces instead, for Apollo Client').conflicts(
        ['introspection', 'federation'],
      ),
    )
    .addOption(
      new Option('--introspection', "print a minified introspection instead, for urql's Graphcache").conflicts(
        'federation',
      ),
    )
    .option('--federation', 'print the subgraph schema instead, from which a supergraph is composed')
    .action(async (options: Options) => {
      const { createSchema } = await import('../graphql/schema.ts')
      const text = (await printerFor(options))(createSchema())
      try {
        await withOutput(undefined, (write) => write(text))
      } catch (error) {
        if (!(error instanceof ReaderGone)) throw error
      }
    })
}

async function printerFor({ possibleTypes, introspection, federation }: Options) {
  if (federation) return (await import('../graphql/federation.ts')).printSubgraph
  const { artefacts } = await import('../graphql/artefacts.ts')
  if (possibleTypes) return artefacts['possibleTypes.json']
  return artefacts[introspection ? 'schema.introspection.json' : 'schema.graphql']
}
