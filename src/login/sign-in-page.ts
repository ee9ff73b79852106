import { html } from 'hono/html'
import type { SessionGroup, SessionView } from '../../db/session-view.ts'
import { syncsGroups, type SourceConfig } from '../source-config.ts'
import { page, type Html } from '../page.ts'
import type { Session } from './session.ts'

/** Nobody is signed in: a button for each enabled source, the promoted ones first. */
export function signedOutPage(sources: readonly SourceConfig[]): Html {
  const offered = sources.filter(({ enabled }) => enabled)
  const ordered = offered.toSorted((one, other) => Number(other.promoted) - Number(one.promoted))
  return page(
    'Sign in',
    html`<section class="card narrow">
      <h1>Sign in</h1>
      <p class="quiet">Use your work or school account to see your groups.</p>
      ${
        ordered.length === 0
          ? html`<p class="warn" role="status">Nobody can sign in: no source is enabled.</p>`
          : html`<ul class="sources">
              ${ordered.map((source) => html`<li>${button(source)}</li>`)}
            </ul>`
      }
    </section>`,
  )
}

function button({ slug, name, icon, promoted }: SourceConfig): Html {
  const [initial] = new Intl.Segmenter().segment(name.trim())
  // The name is in the text beside it, so that the picture says nothing to who can't see it.
  const picture =
    icon === undefined
      ? html`<span class="initial" aria-hidden="true">${initial?.segment ?? ''}</span>`
      : html`<img src="${icon}" alt="" width="24" height="24" />`
  return html`<a class="button source${promoted ? '' : ' second'}" href="/source/oauth/login/${slug}/"
    >${picture}<span>Sign in with ${name}</span></a
  >`
}

export type SignedInView = {
  /** Undefined for one that isn't configured any more. */
  source: SourceConfig | undefined
  session: Session
  view: SessionView
  /** The person's tokens don't work any more. */
  needsLogin: boolean
}

/** What a signed-in person sees. */
export function signedInPage(signedIn: SignedInView): Html {
  const { user } = signedIn.view
  const name = user.displayName ?? user.userPrincipalName ?? user.objectId
  return page(
    name,
    html`<section class="card" aria-labelledby="person">
        <div class="person">
          <div>
            <h1 id="person">${name}</h1>
            ${user.userPrincipalName === null ? '' : html`<p class="quiet">${user.userPrincipalName}</p>`}
          </div>
          <div class="actions">
            <form method="post" action="/sign-out">
              <button class="button second" type="submit">Sign out</button>
            </form>
            <form method="post" action="/sign-out-everywhere">
              <button class="button second" type="submit">Sign out everywhere</button>
            </form>
          </div>
        </div>
      </section>
      ${groupSection(signedIn)}`,
  )
}

function groupSection({ source, view, needsLogin }: SignedInView): Html {
  const { groups } = view
  const syncs = source !== undefined && syncsGroups(source)
  return html`<section aria-labelledby="groups">
    <h2 id="groups">Your groups (${groups.length.toLocaleString('en')})</h2>
    ${syncs ? freshness(source, view, needsLogin) : html`<p role="status">Groups are not synced for this source.</p>`}
    ${
      groups.length === 0
        ? ''
        : html`<ul class="groups">
            ${listItems(groups, source)}
          </ul>`
    }
  </section>`
}

function freshness(source: SourceConfig, { freshness: fresh }: SessionView, needsLogin: boolean): Html {
  const { syncedAt, askedAt } = fresh
  const known =
    syncedAt === null
      ? ''
      : html`<p class="quiet">As of <time datetime="${syncedAt}">${shortTime(syncedAt)}</time>.</p>`
  const state = needsLogin ? 'needs_login' : fresh.state
  return html`${known}${stateLine(source, state)}
  ${
    state === 'needs_login'
      ? ''
      : askedAt === null
        ? html`<form method="post" action="/sync-now">
            <button class="button second" type="submit">Sync now</button>
          </form>`
        : html`<p role="status">A sync was asked for at ${shortTime(askedAt)}. Reload in a moment.</p>`
  }`
}

function stateLine({ slug }: SourceConfig, state: string): Html | '' {
  switch (state) {
    case 'synced':
      return ''
    case 'never':
      return html`<p role="status">The first sync is under way. Reload in a moment.</p>`
    case 'needs_login':
      return html`<p class="warn" role="status">Your groups can’t be refreshed any more.</p>
        <p><a class="button" href="/source/oauth/login/${slug}/">Sign in again</a></p>`
    case 'denied':
      return html`<p class="warn" role="status">
        Entra ID doesn’t let this application read your groups. Ask your administrator to grant it.
      </p>`
    case 'held':
      return html`<p class="warn" role="status">
        The last change was unusually large and waits for an administrator.
      </p>`
    default:
      return html`<p class="warn" role="status">The last sync failed; it will be tried again.</p>`
  }
}

/** Names are labels and may repeat; the object id is shown where the name alone doesn't tell groups apart. */
function listItems(groups: readonly SessionGroup[], source: SourceConfig | undefined): Html[] {
  const idsByName = new Map<string, Set<string>>()
  for (const { displayName, objectId } of groups) {
    if (displayName !== null)
      idsByName.set(displayName, (idsByName.get(displayName) ?? new Set()).add(objectId))
  }
  return groups.map(({ displayName, objectId, origin, since }) => {
    const label = displayName?.trim() ? displayName : undefined
    const ambiguous = label === undefined || (idsByName.get(label)?.size ?? 0) > 1
    const from = origin === 'local' ? 'local' : (source?.name ?? 'Entra ID')
    return html`<li>
      ${label ?? html`<span class="quiet">Name not known</span>`}<span class="tag">${from}</span>${
        ambiguous ? html`<code>${objectId}</code>` : ''
      }
      <span class="quiet since">since <time datetime="${since}">${since.slice(0, 10)}</time></span>
    </li>`
  })
}

const shortTime = (iso: string) => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
