import { html, raw } from 'hono/html'
import type { HttpAnswer } from '../http.ts'
import type { User } from '../directory/objects.ts'

type Markup = ReturnType<typeof html>
type Fields = Readonly<Record<string, string>>

/** The page to choose who signs in: `fields` are the authorization request, carried along by every choice. */
export async function pickerPage(options: {
  action: string
  fields: Fields
  appName: string
  users: readonly User[]
  search: string
  notice: string | undefined
}): Promise<HttpAnswer> {
  const choice = (user: User): Markup =>
    html` <li>
      <form method="post" action="${options.action}">
        ${hiddenFields({ ...options.fields, picked: user.id })}
        <button type="submit"><strong>${user.displayName}</strong><br />${user.userPrincipalName}</button>
      </form>
    </li>`
  const list =
    options.users.length > 0
      ? html`<ul>
          ${options.users.map(choice)}
        </ul>`
      : html`<p>Nobody matches.</p>`
  return page(
    200,
    'Sign in',
    html`<p>to continue to ${options.appName}</p>
      ${options.notice === undefined ? '' : html`<p role="alert">${options.notice}</p>`}
      <form method="get" action="${options.action}" role="search">
        ${hiddenFields(options.fields)}
        <label>Find a user <input type="search" name="search" value="${options.search}" autofocus /></label>
        <button type="submit">Search</button>
      </form>
      ${list}`,
  )
}

/** A page with one button for each thing a person may decide; `fields` are carried along by every choice. */
export function decisionPage(options: {
  action: string
  title: string
  text: string
  fields: Fields
  choices: readonly { label: string; fields: Fields }[]
}): Promise<HttpAnswer> {
  const { action, title, text, fields, choices } = options
  const choice = (each: { label: string; fields: Fields }): Markup =>
    html` <li>
      <form method="post" action="${action}">
        ${hiddenFields({ ...fields, ...each.fields })}<button type="submit">${each.label}</button>
      </form>
    </li>`
  return page(
    200,
    title,
    html`<p style="white-space: pre-line">${text}</p>
      <ul>
        ${choices.map(choice)}
      </ul>`,
  )
}

/** A refusal that must not be sent to the client's redirect URI, because that is what is wrong. */
export function errorPage(title: string, message: string): Promise<HttpAnswer> {
  return page(400, title, html`<p role="alert" style="white-space: pre-line">${message}</p>`)
}

export function signedOutPage(): Promise<HttpAnswer> {
  return page(200, 'You signed out of your account', html`<p>You can close this window.</p>`)
}

/** Loads what tells each app, and goes on once they answered. */
export function signingOutPage(urls: readonly string[], target: string | undefined): Promise<HttpAnswer> {
  const onward =
    target === undefined
      ? html`<p>You can close this window.</p>`
      : html`<p><a id="onward" href="${target}">Continue</a></p>
          ${raw(
            "<script>addEventListener('load', () => { location.href = document.getElementById('onward').href })</script>",
          )}`
  return page(
    200,
    'You signed out of your account',
    html`${urls.map((url) => html`<iframe src="${url}" title="Signing out" hidden></iframe>`)} ${onward}`,
  )
}

/** Returns parameters to the client by a form that posts itself (OAuth 2.0 Form Post Response Mode). */
export async function formPostPage(action: string, fields: Fields): Promise<HttpAnswer> {
  const form = html`<form method="post" action="${action}">
      ${hiddenFields(fields)}<noscript><button type="submit">Continue</button></noscript>
    </form>
    ${raw('<script>document.forms[0].submit()</script>')}`
  return page(200, 'Working…', form)
}

function hiddenFields(fields: Fields): Markup[] {
  return Object.entries(fields).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`,
  )
}

async function page(status: number, title: string, body: Markup): Promise<HttpAnswer> {
  const text = await html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>${title} · simulated Entra ID</title>
        <style>
          body {
            font:
              16px/1.5 system-ui,
              sans-serif;
            max-width: 32rem;
            margin: 4rem auto;
            padding: 0 1rem;
            color: #1b1b1b;
            background: #f2f2f2;
          }
          ul {
            list-style: none;
            padding: 0;
          }
          li button {
            width: 100%;
            text-align: start;
            padding: 0.5rem 1rem;
            margin: 0.15rem 0;
            background: #fff;
            border: 1px solid #ccc;
            font: inherit;
            cursor: pointer;
          }
          li button:hover,
          li button:focus {
            border-color: #0067b8;
            background: #eef6fc;
          }
          strong {
            overflow-wrap: anywhere;
          }
        </style>
      </head>
      <body>
        <h1>${title}</h1>
        ${body}
        <footer>
          <small>This is a simulator: no password is asked, and nothing leaves this machine.</small>
        </footer>
      </body>
    </html>`
  return {
    status,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
    },
    body: String(text),
  }
}
