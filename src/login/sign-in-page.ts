import { html } from 'hono/html'
import type { SessionGroup, SessionView } from '../../db/session-view.ts'
import type { SourceConfig } from '../config.ts'
import { page, type Html } from './page.ts'
import type { Session } from './session.ts'

/** Nobody is signed in: one button for the source. */
export function signedOutPage(source: SourceConfig): Html {
  return page(
    'Sign in',
    html`<section class="card narrow">
      <h1>Sign in</h1>
      <p class="quiet">Use your work or school account to see your groups.</p>
      <a class="button" href="/source/oauth/login/${source.slug}/">Sign in with ${source.name}</a>
    </section>`,
  )
}

/** What a signed-in person sees. `view` is undefined before their first login event is stored. */
export function signedInPage(
  source: SourceConfig,
  session: Session,
  view: SessionView | 'unreachable' | undefined,
): Html {
  const profile = typeof view === 'object' ? view.user : undefined
  const name = profile?.displayName ?? session.displayName ?? session.userPrincipalName ?? session.objectId
  const account = profile?.userPrincipalName ?? session.userPrincipalName
  return page(
    name,
    html`<section class="card" aria-labelledby="person">
        <div class="person">
          <div>
            <h1 id="person">${name}</h1>
            ${account === undefined ? '' : html`<p class="quiet">${account}</p>`}
          </div>
          <form method="post" action="/sign-out">
            <button class="button second" type="submit">Sign out</button>
          </form>
        </div>
      </section>
      ${
        view === 'unreachable'
          ? html`<p class="warn" role="status">
              You are signed in, but your groups can’t be shown right now. Reload in a minute.
            </p>`
          : groupSection(source, view)
      }`,
  )
}

function groupSection(source: SourceConfig, view: SessionView | undefined): Html {
  const groups = view?.groups ?? []
  return html`<section aria-labelledby="groups">
    <h2 id="groups">Your groups (${groups.length.toLocaleString('en')})</h2>
    ${freshness(source, view)}
    ${
      groups.length === 0
        ? ''
        : html`<ul class="groups">
            ${listItems(groups)}
          </ul>`
    }
  </section>`
}

function freshness(source: SourceConfig, view: SessionView | undefined): Html {
  const syncedAt = view?.freshness.syncedAt ?? null
  const known =
    syncedAt === null
      ? ''
      : html`<p class="quiet">As of <time datetime="${syncedAt}">${shortTime(syncedAt)}</time>.</p>`
  const again = html`<a href="/source/oauth/login/${source.slug}/">sign in again</a>`
  switch (view?.freshness.state ?? 'never') {
    case 'synced':
      return html`${known}`
    case 'never':
      return html`<p role="status">The first sync is under way. Reload in a moment.</p>`
    case 'needs_login':
      return html`${known}
        <p class="warn" role="status">Your groups can’t be refreshed any more: please ${again}.</p>`
    case 'denied':
      return html`${known}
        <p class="warn" role="status">
          Entra ID doesn’t let this application read your groups. Ask your administrator to grant it.
        </p>`
    case 'held':
      return html`${known}
        <p class="warn" role="status">The last change was unusually large and waits for an administrator.</p>`
    default:
      return html`${known}
        <p class="warn" role="status">The last sync failed; it will be tried again.</p>`
  }
}

/** Names are labels and may repeat; the object id is shown where the name alone doesn't tell groups apart. */
function listItems(groups: readonly SessionGroup[]): Html[] {
  const idsByName = new Map<string, Set<string>>()
  for (const { displayName, objectId } of groups) {
    if (displayName !== null)
      idsByName.set(displayName, (idsByName.get(displayName) ?? new Set()).add(objectId))
  }
  return groups.map(({ displayName, objectId, origin }) => {
    const label = displayName?.trim() ? displayName : undefined
    const ambiguous = label === undefined || (idsByName.get(label)?.size ?? 0) > 1
    return html`<li>
      ${label ?? html`<span class="quiet">Name not known</span>`}${
        origin === 'local' ? html`<span class="tag">local</span>` : ''
      }${ambiguous ? html`<code>${objectId}</code>` : ''}
    </li>`
  })
}

const shortTime = (iso: string) => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
