import { Command } from 'commander'

export function schemaCommand(): Command {
  return new Command('schema')
    .description('Print the GraphQL schema, sorted, as schema.graphql has it.')
    .action(async () => {
      const { createSchema, printSortedSchema } = await import('../graphql/schema.ts')
      process.stdout.write(printSortedSchema(createSchema()))
    })
}
