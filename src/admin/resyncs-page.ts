import { html } from 'hono/html'
import type { StoredResync } from '../../db/resyncs.ts'
import { page, type Html } from '../page.ts'

/** Resyncs, the latest first, with what came of them; `secondsLeft` tells how long one still takes, `more` that there are older ones. */
export function resyncsPage(
  resyncs: readonly StoredResync[],
  secondsLeft: (resync: StoredResync) => number | undefined,
  more: boolean,
): Html {
  const last = resyncs.at(-1)
  return page(
    'Resyncs',
    html`<h1>Resyncs</h1>
      ${
        resyncs.length === 0
          ? html`<p>There is none.</p>`
          : resyncs.map((resync) => resyncSection(resync, secondsLeft(resync)))
      }
      ${more && last ? html`<p><a href="/admin/resyncs?before=${last.id}">Older ones</a></p>` : ''}`,
  )
}

function resyncSection(resync: StoredResync, secondsLeft: number | undefined): Html {
  const { id, source, mode, cause, state, startedAt, endedAt, due, done, errorCode } = resync
  const counts = [
    ['Changed', resync.changed],
    ['Held', resync.held],
    ['Must sign in', resync.needsLogin],
    ['Denied', resync.denied],
    ['Failed', resync.failed],
    ['Requests', resync.requests],
    ['Resource units', resync.resourceUnits],
  ] as const
  return html`<section class="card" aria-labelledby="resync-${id}">
    <h2 id="resync-${id}">${source}: ${mode}, ${state}</h2>
    <p>
      <progress value="${done}" max="${Math.max(due, done, 1)}">${done} of ${due}</progress>
      ${done.toLocaleString('en')} of ${due.toLocaleString('en')}
      people${secondsLeft === undefined ? '' : `, about ${Math.ceil(secondsLeft / 60)} minutes left`}
    </p>
    ${
      state === 'held'
        ? html`<p class="warn">
            It would have removed too much. If Entra is right: <code>entra-group-sync approve ${id}</code>
          </p>`
        : ''
    }
    ${errorCode === null ? '' : html`<p class="warn">It does not get on: <code>${errorCode}</code></p>`}
    <dl>
      <dt>Id</dt>
      <dd><code>${id}</code></dd>
      <dt>Cause</dt>
      <dd>${cause}</dd>
      <dt>Began</dt>
      <dd>${moment(startedAt)}</dd>
      <dt>Ended</dt>
      <dd>${endedAt === null ? 'not yet' : moment(endedAt)}</dd>
      ${counts.map(
        ([name, count]) =>
          html`<dt>${name}</dt>
            <dd>${count.toLocaleString('en')}</dd>`,
      )}
    </dl>
  </section>`
}

const moment = (iso: string) => `${new Date(iso).toISOString().slice(0, 16).replace('T', ' ')} UTC`
