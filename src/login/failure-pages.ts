import type { AdmissionRefusal } from './admission.ts'
import { problemPage, type Html } from '../page.ts'
import type { SignInFailure } from './sign-in-failure.ts'

const loginAgain = (slug: string) => ({ href: `/source/oauth/login/${slug}/`, text: 'Sign in again' })

/** Entra remembers who is signed in there, and would send the same person back without a word. */
const loginAsOther = (slug: string) => ({
  href: `/source/oauth/login/${slug}/?prompt=select_account`,
  text: 'Sign in with another account',
})

const factsOf = ({ error, aadsts, correlationId }: SignInFailure) =>
  [
    ['Error', error],
    ['Entra code', aadsts],
    ['Correlation id', correlationId],
  ] as const

/** Entra, or the check of its answer, refused. */
export function refusedPage(slug: string, failure: SignInFailure): Html {
  return problemPage({
    title: 'You are not signed in',
    advice: failure.advice,
    action: failure.otherAccount ? loginAsOther(slug) : loginAgain(slug),
    facts: factsOf(failure),
  })
}

/** The session is as it was: only what Entra wanted more is missing. */
export function unsatisfiedPage(failure: SignInFailure, returnTo: string): Html {
  const advice = failure.temporary
    ? 'Entra ID can’t be reached right now: try again in a minute.'
    : 'Entra ID wants more of you before it shows your groups, such as a second factor or a managed device, and did not get it. Ask your administrator if you don’t know what.'
  return stillSignedInPage(advice, returnTo, factsOf(failure))
}

function stillSignedInPage(
  advice: string,
  returnTo: string,
  facts: readonly (readonly [name: string, value: string | undefined])[],
): Html {
  return problemPage({
    title: 'Your groups can’t be refreshed yet',
    advice: `You are still signed in, with the groups as they were. ${advice}`,
    action: { href: returnTo, text: 'Go on' },
    facts,
  })
}

export function unknownStatePage(slug: string): Html {
  return problemPage({
    title: 'This sign-in can’t be finished',
    advice:
      'It was begun more than ten minutes ago, was already used, or was begun in another browser. Nothing is wrong with your account.',
    action: loginAgain(slug),
  })
}

const admissionAdvice: Record<AdmissionRefusal, string> = {
  disabled: 'Your account is disabled in this application. Ask its administrator.',
  not_invited: 'This application takes only people who were invited. Ask its administrator.',
  not_member: 'You are in none of the groups that may use this application. Ask your administrator.',
  membership_unknown:
    'Whether you may use this application can’t be checked right now. Try again in a minute.',
  membership_forbidden:
    'This application may not ask Microsoft Graph which groups you are in. Ask your administrator to grant it the permission GroupMember.Read.All.',
  membership_failed:
    'Microsoft Graph’s answer about your groups can’t be used, and signing in again will not help. Tell your administrator.',
  claims_unmet:
    'Your organisation wants more of you before it tells which groups you are in, such as a second factor or a managed device, and did not get it. Ask your administrator if you don’t know what.',
}

const otherAccountFor: readonly AdmissionRefusal[] = ['disabled', 'not_invited', 'not_member']

/** Entra lets the person in, and we don't. */
export function notAdmittedPage(slug: string, refusal: AdmissionRefusal): Html {
  return problemPage({
    title: 'You are not signed in',
    advice: admissionAdvice[refusal],
    action: otherAccountFor.includes(refusal) ? loginAsOther(slug) : loginAgain(slug),
    facts: [['Error', refusal]],
  })
}

/** The same of somebody who has a session that this doesn't end. */
export function notRefreshedPage(refusal: AdmissionRefusal, returnTo: string): Html {
  return stillSignedInPage(admissionAdvice[refusal], returnTo, [['Error', refusal]])
}

export function notStoredPage(slug: string): Html {
  return problemPage({
    title: 'You are not signed in',
    advice: 'Something went wrong on our side, not on yours. Try again in a minute.',
    action: loginAgain(slug),
  })
}

/** An administrator comes back from agreeing for everybody, or from not doing so. */
export function consentPage(slug: string, granted: boolean): Html {
  return problemPage({
    title: granted ? 'Consent is granted' : 'Consent is not granted',
    advice: granted
      ? 'People of the tenant can sign in, and their groups are read with names from their next sync on.'
      : 'Nothing has changed. Somebody who may consent for the whole tenant has to agree.',
    action: { href: `/source/oauth/login/${slug}/`, text: 'Sign in' },
  })
}
