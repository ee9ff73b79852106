/** A name as its owner writes it, and the ASCII form that goes into addresses. */
export type SpelledName = readonly [written: string, ascii: string]

export const givenNames: readonly SpelledName[] = [
  ['Ada', 'ada'],
  ['Amir', 'amir'],
  ['Anaïs', 'anais'],
  ['Björn', 'bjorn'],
  ['Chiara', 'chiara'],
  ['Dmitri', 'dmitri'],
  ['Елена', 'elena'],
  ['Esther', 'esther'],
  ['Fatima', 'fatima'],
  ['فاطمة', 'fatimah'],
  ['Grace', 'grace'],
  ['健太', 'kenta'],
  ['Ingrid', 'ingrid'],
  ['João', 'joao'],
  ['Kwame', 'kwame'],
  ['李娜', 'lina'],
  ['Łukasz', 'lukasz'],
  ['Maya', 'maya'],
  ['משה', 'moshe'],
  ['Nadia', 'nadia'],
  ['Νίκος', 'nikos'],
  ['Olu', 'olu'],
  ['प्रिया', 'priya'],
  ['Quinn', 'quinn'],
  ['Renée', 'renee'],
  ['서연', 'seoyeon'],
  ['Søren', 'soren'],
  ['Thi', 'thi'],
  ['Ximena', 'ximena'],
  ['Zoë', 'zoe'],
]

export const surnames: readonly SpelledName[] = [
  ['Achterberg', 'achterberg'],
  ['Ćosić', 'cosic'],
  ["D'Angelo", 'dangelo'],
  ['de la Cruz', 'delacruz'],
  ['Eriksen', 'eriksen'],
  ['Fernández', 'fernandez'],
  ['García Márquez', 'garciamarquez'],
  ['حداد', 'haddad'],
  ['Ivanova', 'ivanova'],
  ['Jackson', 'jackson'],
  ['Kowalski', 'kowalski'],
  ['כהן', 'cohen'],
  ['Lindqvist', 'lindqvist'],
  ['Müller', 'muller'],
  ['Nguyễn', 'nguyen'],
  ["O'Brien", 'obrien'],
  ['Παπαδόπουλος', 'papadopoulos'],
  ['Petrov', 'petrov'],
  ['佐藤', 'sato'],
  ['Smith-Jones', 'smithjones'],
  ['शर्मा', 'sharma'],
  ['Tremblay', 'tremblay'],
  ['Usman', 'usman'],
  ['van den Berg', 'vandenberg'],
  ['王', 'wang'],
  ['Yılmaz', 'yilmaz'],
  ['Żak', 'zak'],
]

export const departments = [
  'Engineering',
  'Finance',
  'Human Resources',
  'Legal',
  'Marketing',
  'Operations',
  'Research',
  'Sales',
  'Security',
  'Support',
] as const

/** Region, country, city: three levels of nesting. */
export const locations: readonly (readonly [region: string, country: string, city: string])[] = [
  ['Europe', 'Germany', 'Berlin'],
  ['Europe', 'Germany', 'München'],
  ['Europe', 'Netherlands', 'Utrecht'],
  ['Europe', 'Poland', 'Łódź'],
  ['Americas', 'Brazil', 'São Paulo'],
  ['Americas', 'Canada', 'Montréal'],
  ['Americas', 'United States', 'Redmond'],
  ['Asia', 'Japan', '東京'],
  ['Asia', 'India', 'Bengaluru'],
  ['Asia', 'Israel', 'תל אביב'],
]

export const jobTitles = [
  'Analyst',
  'Architect',
  'Consultant',
  'Director',
  'Engineer',
  'Intern',
  'Manager',
  'Specialist',
]

export const projectAdjectives = [
  'Amber',
  'Bright',
  'Crimson',
  'Deep',
  'Eager',
  'Frozen',
  'Golden',
  'Hidden',
  'Iron',
  'Jade',
  'Kind',
  'Lunar',
]
export const projectNouns = [
  'Anchor',
  'Bridge',
  'Compass',
  'Delta',
  'Engine',
  'Falcon',
  'Garden',
  'Harbor',
  'Island',
  'Junction',
  'Kite',
  'Lantern',
  'Mirror',
  'Nebula',
]

/** Names that break software which treats a display name as unique, short, plain or harmless. */
export const awkwardGroupNames: readonly string[] = [
  'Project Phoenix',
  'Project Phoenix',
  'project phoenix',
  `"Quoted" 'names'; DROP TABLE groups;--`,
  '<b>Markup & entities</b>',
  '🚀 Launch crew 👩‍🚀',
  'فريق المبيعات',
  'צוות פיתוח (RTL)',
  '開発チーム・東京',
  'Owners, back\\slash / slash ? & = % #',
  'é as one, é as two code points',
  '  spaces  around  ',
  `Long ${'x'.repeat(251)}`,
]

/** Role template ids are the same in every tenant (Entra docs: permissions-reference, built-in roles). */
export const directoryRoles: readonly { displayName: string; roleTemplateId: string; description: string }[] =
  [
    {
      displayName: 'Global Administrator',
      roleTemplateId: '62e90394-69f5-4237-9190-012177145e10',
      description: 'Can manage all aspects of Microsoft Entra ID and services that use its identities.',
    },
    {
      displayName: 'Directory Readers',
      roleTemplateId: '88d8e3e3-8f55-4a1e-953a-9b9898b8876b',
      description: 'Can read basic directory information.',
    },
    {
      displayName: 'User Administrator',
      roleTemplateId: 'fe930be7-5e62-47db-91af-98c3a49a38b1',
      description: 'Can manage all aspects of users and groups.',
    },
  ]
