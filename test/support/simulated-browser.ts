import { z } from 'zod'

/** What a browser without scripts sees: the answer's text, its forms in order, and cookies kept between answers. */
export type SimulatedBrowser = {
  /** A redirect to another origin isn't followed: it is the answer. */
  open(url: string): Promise<Shown>
  /** Sends the form whose button has this label. */
  press(shown: Shown, label: string): Promise<Shown>
}

export type Shown = { url: string; status: number; text: string; location: URL | undefined; forms: Form[] }
type Form = { method: string; action: string; label: string; fields: Record<string, string> }

const attribute = (tag: string, name: string): string =>
  unescaped(new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1] ?? '')

function unescaped(text: string): string {
  return text
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}

function formsOf(page: string): Form[] {
  return [...page.matchAll(/<form([^>]*)>(.*?)<\/form>/gs)].map(([, tag = '', inner = '']) => ({
    method: attribute(tag, 'method'),
    action: attribute(tag, 'action'),
    label: unescaped(/<button[^>]*>(.*?)<\/button>/s.exec(inner)?.[1]?.replaceAll(/<[^>]*>/g, ' ') ?? ''),
    fields: Object.fromEntries(
      [...inner.matchAll(/<input type="hidden"([^>]*)>/g)].map(([, each = '']) => [
        attribute(each, 'name'),
        attribute(each, 'value'),
      ]),
    ),
  }))
}

/** Starts without cookies. */
export function simulatedBrowser(): SimulatedBrowser {
  const cookies = new Map<string, string>()
  const ask = async (url: string, init: RequestInit = {}): Promise<Shown> => {
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ')
    const answer = await fetch(url, { ...init, headers: { cookie }, redirect: 'manual' })
    for (const set of answer.headers.getSetCookie()) {
      const [name = '', value = ''] = z.string().parse(set.split(';')[0]).split('=')
      if (/max-age=0/i.test(set)) cookies.delete(name)
      else cookies.set(name, value)
    }
    const text = await answer.text()
    const location = answer.headers.get('location')
    return {
      url,
      status: answer.status,
      text,
      location: location === null ? undefined : new URL(location, url),
      forms: formsOf(text),
    }
  }
  return {
    open: (url) => ask(url),
    async press(shown, label) {
      const form = shown.forms.find((each) => each.label.includes(label))
      if (!form)
        throw new Error(`no button ${label} among ${shown.forms.map((each) => each.label).join(', ')}`)
      const body = new URLSearchParams(form.fields)
      const url = new URL(form.action, shown.url)
      if (form.method === 'post') return await ask(url.href, { method: 'POST', body })
      url.search = body.toString()
      return await ask(url.href)
    },
  }
}
