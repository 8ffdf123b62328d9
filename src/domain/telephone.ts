import { parsePhoneNumberFromString } from 'libphonenumber-js/max'

/** What a telephone keypad prints beside its digits (ITU-T E.161). */
const keypad = { 2: 'ABC', 3: 'DEF', 4: 'GHI', 5: 'JKL', 6: 'MNO', 7: 'PQRS', 8: 'TUV', 9: 'WXYZ' }
const digitOfLetter = new Map(Object.entries(keypad).flatMap(([digit, letters]) => [...letters].map((l) => [l, digit])))

/** The shortest number with its country code that could be valid, in digits. */
const minInternationalDigits = 7
/** E.164 allows 15; vanity numbers are often spelled out beyond what is dialled. */
const maxInternationalDigits = 15

/** Digits of every script as ASCII: full-width and the like by compatibility, the others by their place in their row. */
function withAsciiDigits(text: string): string {
  return text.normalize('NFKC').replace(/(?![0-9])\p{Nd}/gu, (digit) => String(digitValue(digit)))
}

/** Unicode lays out the digits of a script in one row from zero to nine; rows may follow each other. */
function digitValue(digit: string): number {
  let first = digit.codePointAt(0)!
  while (hasDigit(String.fromCodePoint(first - 1))) first--
  return (digit.codePointAt(0)! - first) % 10
}

export function hasDigit(text: string): boolean {
  return /\p{Nd}/u.test(text)
}

/**
 * Every valid number in a text, as E.164, in order of appearance and without repetition. Only numbers with a country
 * code can be told apart from others, so each begins at a `+`. Letters in capitals are read as the keypad has them.
 */
export function findNumbers(text: string): string[] {
  const numbers = withAsciiDigits(text).split('+').slice(1).map(readNumber)
  return [...new Set(numbers.filter((number) => number !== undefined))]
}

/**
 * The longest valid number that the text begins with. Letters count only where the digits before them make no number, so
 * that `FAX` after a complete number is not dialled.
 */
function readNumber(text: string): string | undefined {
  const [dialled = ''] = /^[\d A-Z().\-\u2010-\u2015\u2212/[\]~\u00ad\u200b\u2060]*/.exec(text) ?? []
  const groups = dialled.match(/[\dA-Z]+/g) ?? []
  let digits = ''
  let hasLetters = false
  const plain: string[] = []
  const vanity: string[] = []
  for (const group of groups) {
    hasLetters ||= /[A-Z]/.test(group)
    digits += group.replace(/[A-Z]/g, (letter) => digitOfLetter.get(letter)!)
    if (digits.length > maxInternationalDigits) break
    if (digits.length >= minInternationalDigits) (hasLetters ? vanity : plain).unshift(`+${digits}`)
  }
  for (const candidate of [...plain, ...vanity]) {
    const parsed = parsePhoneNumberFromString(candidate)
    if (parsed?.isValid()) return parsed.number
  }
  return undefined
}

/** Digits without what is dialled before them to leave a city or a country. */
const significantDigits = (text: string) => withAsciiDigits(text).replace(/\D/g, '').replace(/^0+/, '')

/**
 * The keys under which a telephone text is found: each number with its country code, each without, and all digits of the
 * text where no number could be read.
 */
export function telephoneKeys(text: string): string[] {
  const numbers = findNumbers(text)
  if (numbers.length === 0) return [significantDigits(text)].filter(Boolean)
  return [...new Set(numbers.flatMap((number) => [number.slice(1), nationalDigits(number)]))]
}

/** Italian numbers begin with a zero after the country code too, which `significantDigits` takes off what is searched for. */
const nationalDigits = (number: string) => significantDigits(String(parsePhoneNumberFromString(number)!.nationalNumber))

/** The key to look up for a number as somebody types it: `+1 203…`, `001203…`, `(203) 413-4880`. */
export function telephoneSearchKey(text: string): string | undefined {
  const [number] = findNumbers(withAsciiDigits(text).replace(/^\s*00/, '+'))
  return number?.slice(1) ?? (significantDigits(text) || undefined)
}
