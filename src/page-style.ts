/** The one style sheet, served at `/style.css`: system fonts, light and dark, nothing fetched from elsewhere. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f4f6f8, #12161b);
  --card: light-dark(#ffffff, #1b2129);
  --text: light-dark(#1c2430, #e6eaf0);
  --quiet: light-dark(#566173, #9aa6b6);
  --line: light-dark(#d9dfe7, #303945);
  --accent: light-dark(#0b5cad, #7db8f5);
  --on-accent: light-dark(#ffffff, #0d1a28);
  --warn: light-dark(#8a4b00, #f0b35b);
}
* { box-sizing: border-box }
body {
  margin: 0 auto;
  max-width: 60rem;
  padding: 1.5rem 1rem 4rem;
  background: var(--ground);
  color: var(--text);
  font: 1rem/1.55 system-ui, sans-serif;
}
header { margin-bottom: 2rem }
header a { color: var(--quiet); font-weight: 600; text-decoration: none }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 2rem 0 .5rem; font-size: 1.1rem }
p { margin: .5rem 0 }
a { color: var(--accent) }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere }
.card { padding: 1.75rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem }
.narrow { max-width: 28rem; margin: 10vh auto 0 }
.quiet { color: var(--quiet) }
.warn { color: var(--warn); font-weight: 600 }
.person { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: space-between; align-items: start }
.button {
  display: inline-block;
  padding: .6rem 1.2rem;
  border: 1px solid var(--accent);
  border-radius: .5rem;
  background: var(--accent);
  color: var(--on-accent);
  font: inherit;
  font-weight: 600;
  text-decoration: none;
  cursor: pointer;
}
.button.second { background: transparent; color: var(--accent) }
.button:hover { filter: brightness(1.1) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px }
.narrow .button { display: block; margin-top: 1.25rem; text-align: center }
.sources { margin: 1.25rem 0 0; padding: 0; list-style: none }
.narrow .source { display: flex; gap: .75rem; align-items: center; margin-top: .75rem; text-align: left }
.source img, .initial { flex: none; width: 1.5rem; height: 1.5rem }
.initial { border: 1px solid; border-radius: .35rem; line-height: 1.4rem; text-align: center }
.actions { display: flex; flex-wrap: wrap; gap: .5rem }
.since { display: block; font-size: .85rem }
table { width: 100%; margin: 1rem 0; border-collapse: collapse }
caption { color: var(--quiet); text-align: left }
th, td { padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left }
dl { margin: 0 }
dt { color: var(--quiet); font-size: .9rem }
dd { margin: 0 0 .5rem }
.groups { margin: 1rem 0 0; padding: 0; list-style: none; columns: 20rem; column-gap: 2rem }
.groups li {
  padding: .45rem 0;
  border-bottom: 1px solid var(--line);
  break-inside: avoid;
  overflow-wrap: anywhere;
}
.groups code { display: block; color: var(--quiet) }
.tag {
  margin-left: .4rem;
  padding: 0 .45rem;
  border: 1px solid var(--line);
  border-radius: 1rem;
  color: var(--quiet);
  font-size: .8rem;
}
`
