import { type openApiDocument, type DocumentPart as Part, resolvePart } from './openapi.ts'

// The OpenAPI document as a page to read: plain HTML, which needs neither scripts nor another machine.

type Document = ReturnType<typeof openApiDocument>

const methods = ['get', 'post', 'patch', 'put', 'delete']

export function referencePage(document: Document): string {
  const resolve = (part: Part) => resolvePart(document, part)

  const fieldRows = (schema: Part): string =>
    [resolve(schema)]
      .flatMap((found) => found.anyOf ?? [found])
      .map((one: Part) =>
        table(
          ['field', 'type', ''],
          Object.entries(resolve(one).properties ?? {}).map(([name, property]) => [
            code(name) + (one.required?.includes(name) ? ' <em>required</em>' : ''),
            typeOf(property as Part),
            text((property as Part).description ?? ''),
          ]),
        ),
      )
      .join('<p>or</p>')

  const parameterRows = (parameters: Part[]) =>
    table(
      ['parameter', 'in', ''],
      parameters
        .map(resolve)
        .map(({ name, in: where, required, description }) => [
          code(name) + (required ? ' <em>required</em>' : ''),
          text(where),
          text(description),
        ]),
    )

  const responseRows = (responses: Record<string, Part>) =>
    Object.entries(responses)
      .map(([status, response]) => {
        const { description, content } = resolve(response)
        const example = (content?.['application/json'] ?? content?.['text/event-stream'])?.example
        return `<dt>${code(status)} ${text(description)}</dt>${example === undefined ? '' : `<dd>${pre(example)}</dd>`}`
      })
      .join('')

  const operation = (
    path: string,
    shared: Part[],
    method: string,
    { summary, description, parameters = [], requestBody, responses }: Part,
  ) => `
<section>
<h2><b class="${method}">${method.toUpperCase()}</b> ${code(document.servers[0]!.url + path)}</h2>
<p>${text(summary)}${description ? ` ${text(description)}` : ''}</p>
${[...shared, ...parameters].length > 0 ? parameterRows([...shared, ...parameters]) : ''}
${requestBody ? `<h3>Body</h3>${fieldRows(requestBody.content['application/json'].schema)}${pre(requestBody.content['application/json'].example)}` : ''}
<h3>Answers</h3><dl>${responseRows(responses)}</dl>
</section>`

  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    methods
      .filter((method) => method in item)
      .map((method) => operation(path, (item as Part).parameters ?? [], method, (item as Part)[method])),
  )
  const { title, description, version } = document.info
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(title)}: REST API</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${text(title)}: REST API, version ${text(version)}</h1>
<p>${text(description)} The same as a document for programs: <a href="openapi.json">openapi.json</a>.</p>
${operations.join('')}
</main>
</body>
</html>
`
}

const text = (value: string) =>
  value.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`).replace(/`([^`]*)`/g, '<code>$1</code>')
const code = (value: string) => `<code>${text(value)}</code>`
const pre = (value: unknown) => `<pre>${text(typeof value === 'string' ? value : JSON.stringify(value, null, 2))}</pre>`
const table = (head: string[], rows: string[][]) =>
  `<table><tr>${head.map((cell) => `<th>${cell}</th>`).join('')}</tr>${rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`).join('')}</table>`

function typeOf({ type, enum: values, maxLength, anyOf }: Part): string {
  if (values) return values.map(code).join(', ')
  if (anyOf) return anyOf.map(typeOf).join(' or ')
  return (
    text([type ?? ''].flat().join(' or ')) +
    (maxLength && maxLength < Number.MAX_SAFE_INTEGER ? `, at most ${maxLength} characters` : '')
  )
}

const style = `
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: #1c2024; background: #fff }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1.5rem 4rem }
h2 { font-size: 1.1rem; margin: 3rem 0 .5rem; border-top: 1px solid #ddd; padding-top: 1rem; overflow-wrap: anywhere }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem }
b { display: inline-block; min-width: 4.5rem; color: #fff; background: #446; border-radius: 4px; text-align: center; padding: 0 .4rem }
b.get { background: #0a6847 } b.post { background: #1b5fad } b.delete { background: #a1242c }
code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { background: #f5f6f8; padding: .7rem 1rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #eee }
em { color: #a1242c; font-size: .85em } dt { margin-top: .6rem } dd { margin: 0 }
`
