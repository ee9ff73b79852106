import type { Membership } from './groups.ts'

export function signedOutPage(): string {
  return page('Signed out', '<p><a href="/sign-in">Sign in with Microsoft</a></p>')
}

export function signedInPage(name: string, membership: Membership | undefined): string {
  return page(
    `Hello, ${name}`,
    `<h2>Your groups</h2>${listed(membership)}
    <form method="post" action="/sign-out"><button>Sign out</button></form>`,
  )
}

/** `reason` is a code, for whoever is asked for help. */
export function failurePage(reason: string): string {
  return page(
    'You are not signed in',
    `<p>Microsoft did not sign you in (${escaped(reason)}).</p><p><a href="/sign-in">Try again</a></p>`,
  )
}

function listed(membership: Membership | undefined): string {
  if (membership === undefined) return '<p>They can’t be read at the moment.</p>'
  const { groups, asOf } = membership
  if (asOf === null) return '<p>They are being read. Reload in a moment.</p>'
  const items = groups.map(({ id, name }) => `<li data-id="${escaped(id)}">${escaped(name ?? id)}</li>`)
  return `<ul>${items.join('')}</ul><p>As of ${escaped(asOf.toISOString())}.</p>`
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title>
<h1>${escaped(title)}</h1>
${body}
</html>`
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
