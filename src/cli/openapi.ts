import { Command } from 'commander'

export function openApiCommand(): Command {
  return new Command('openapi').description('Print the OpenAPI document of the REST API.').action(async () => {
    const { openApiDocument } = await import('../rest/openapi.ts')
    process.stdout.write(`${JSON.stringify(openApiDocument(), null, 2)}\n`)
  })
}
