import { html } from 'hono/html'

/** Markup whose values are already escaped. */
export type Html = ReturnType<typeof html>

/** The frame of every page. No script, nothing from another host. */
export function page(title: string, main: Html): Html {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} · entra-group-sync</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/style.css" />
      </head>
      <body>
        <header><a href="/">entra-group-sync</a></header>
        <main>${main}</main>
      </body>
    </html>`
}

/** A page that says what went wrong and what to do. `facts` are for whoever is asked for help. */
export function problemPage(problem: {
  title: string
  advice: string
  action?: { href: string; text: string }
  facts?: readonly (readonly [name: string, value: string | undefined])[]
}): Html {
  const facts = (problem.facts ?? []).filter(([, value]) => value !== undefined)
  const action = problem.action ?? { href: '/', text: 'Back to the start' }
  return page(
    problem.title,
    html`<section class="card">
      <h1>${problem.title}</h1>
      <p>${problem.advice}</p>
      <p><a class="button" href="${action.href}">${action.text}</a></p>
      ${
        facts.length === 0
          ? ''
          : html`<h2>For support</h2>
              <dl>
                ${facts.map(
                  ([name, value]) =>
                    html`<dt>${name}</dt>
                      <dd><code>${value}</code></dd>`,
                )}
              </dl>`
      }
    </section>`,
  )
}
