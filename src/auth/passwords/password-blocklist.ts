import { codePoints } from "../../lib/text.ts";

/*
 * The passwords that attackers try first; NIST SP 800-63B-4, 3.1.1.2 requires such a blocklist. Lists of leaked
 * passwords contain few of 15 characters or more, and those follow patterns. So this list is computed from patterns.
 * They are words and phrases, repeated or with digits, walks over the keyboard, and runs of one character or of the
 * alphabet. The name of the product is one of the words.
 *
 * Entries are in lower case and without separators. A password is compared in the same form.
 */

/** Length of the shortest entry. Entries below 15 characters matter only if a shorter minimum is configured. */
const MIN_LENGTH = 8;

const WORDS = `
password passwort passw0rd p@ssword p@ssw0rd pa55word passphrase secret changeme welcome letmein admin administrator
root superuser superman batman spiderman ironman starwars pokemon dragon monkey shadow master princess sunshine
football baseball basketball hockey soccer liverpool chelsea arsenal barcelona iloveyou loveyou lovely trustno1 whatever
freedom hello hunter hunter2 access login guest test testing tester default user username computer internet service
server database system company business office google facebook amazon apple microsoft windows linux ubuntu android
samsung iphone qwerty azerty qwertz asdf zxcv asdfgh zxcvbn abc123 123abc abcd1234 a1b2c3 1q2w3e 1q2w3e4r q1w2e3r4
michael jennifer jessica ashley daniel charlie thomas jordan robert matthew andrew joshua maggie buster pepper ginger
summer winter spring autumn january february march april june july august september october november december monday
tuesday wednesday thursday friday saturday sunday london paris berlin newyork america canada germany france
latchkey keykit apikey token bearer credential production staging development
`
  .trim()
  .split(/\s+/);

const PHRASES = `
thisismypassword thisisapassword thisisasecret thisisnotapassword thisisasecurepassword thisisastrongpassword
thisisalongpassword mypasswordispassword mypasswordis mynewpassword myoldpassword mysecretpassword mysecurepassword
mystrongpassword asecurepassword averylongpassword averysecurepassword averystrongpassword areallylongpassword
verysecurepassword verystrongpassword verylongpassword reallylongpassword supersecretpassword supersecurepassword
superstrongpassword thepasswordispassword passwordpassword passwordispassword secretpassword securepassword
strongpassword newpassword temppassword temporarypassword defaultpassword adminpassword rootpassword userpassword
testpassword guestpassword masterpassword loginpassword changethispassword changemeplease changemenow pleasechangeme
pleaseletmein letmeinplease letmeinnow letmeintothesystem opensesame iloveyousomuch iloveyouforever iloveyoubaby
iloveyouverymuch iloveyoualways iloveyoutoo iwillalwaysloveyou iloveyou iloveme ilovemymom ilovemyself ilovemyfamily
ilovejesus jesuslovesme jesusischrist jesuschrist godisgood godislove godblessme godblessyou inGodwetrust trustnoone
whateveritis whatever idontknow idontcare idontremember iforgotmypassword iforgot icantremember youcantguessthis
youwillneverguess neverguessthis nobodyknows noonewillguessthis nopassword nopasswordneeded thereisnopassword
passwordnotrequired enterpassword enteryourpassword yourpassword yourpasswordhere typeyourpassword insertpasswordhere
passwordgoeshere passwordforlatchkey latchkeypassword latchkeyadmin latchkeyservice latchkeysecret mylatchkeypassword
apikeypassword apikeyservice welcometotheservice welcometolatchkey welcomehome welcomeback welcometothejungle
helloworld hellothere hellokitty happybirthday happynewyear merrychristmas maytheforcebewithyou
starwarsstarwars onceuponatime tobeornottobe thequickbrownfox thequickbrownfoxjumpsoverthelazydog
loremipsumdolorsitamet manchesterunited realmadrid fcbarcelona liverpoolfc newyorkyankees dallascowboys
administrator administratoraccount systemadministrator superadministrator databaseadministrator rootroot
administrator123 companypassword officepassword wifipassword
`
  .trim()
  .toLowerCase()
  .split(/\s+/);

/** Rows of keyboards, and columns and zigzags over them. */
const WALKS = `
qwertyuiop asdfghjkl zxcvbnm qwertyuiopasdfghjklzxcvbnm qwertzuiop azertyuiop qsdfghjklm wxcvbn yxcvbnm
1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p qazwsxedcrfvtgbyhnujmikolp 1q2w3e4r5t6y7u8i9o0p q1w2e3r4t5y6u7i8o9p0
zaq12wsxcde34rfvbgt56yhnmju78ik 1qazxsw23edcvfr45tgbnhy67ujm qawsedrftgyhujikolp azsxdcfvgbhnjmk
1234567890qwertyuiop qwertyuiop1234567890 asdfghjkl1234567890 1234567890asdfghjkl zxcvbnm1234567890
abcdefghijklmnopqrstuvwxyz 01234567890123456789012345678901 98765432109876543210987654321098 a1b2c3d4e5f6g7h8i9j0
abc123def456ghi789jkl 112233445566778899001122 111222333444555666777888999000 aabbccddeeffgghhiijjkkllmm
qweasdzxcrtyfghvbn qweasdzxc123 123qweasdzxc 1234qwerasdfzxcv qwerasdfzxcvqwerasdfzxcv 147258369147258369 159357159357
789456123789456123 741852963741852963 14789632147896321478963 q2w3e4r5t6y7u8i9 !@#$%^&*()qwertyuiop 1!2@3#4$5%6^7&8*9(0)
31415926535897932384626433832795 27182818284590452353602874713526 11235813213455891442333776109871
`
  .trim()
  .split(/\s+/);

const ENDINGS = [
  ...["1", "12", "123", "1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890"],
  ...["0", "00", "007", "01", "11", "111", "69", "77", "99", "321", "666", "777", "2000", "!", "!!", "123!", "1!", "?"],
  ...Array.from({ length: 16 }, (_, i) => `${2015 + i}`),
  ...Array.from({ length: 16 }, (_, i) => `${2015 + i}!`),
];

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789!?*#";
const LONGEST = 64;

/** Whether attackers try the password first. @param password in Unicode NFC */
export function isCommonPassword(password: string): boolean {
  const folded = fold(password);
  const bare = folded.replace(/[\d!?]{1,8}$/, "");
  return [folded, bare].some((text) => PASSWORD_BLOCKLIST.has(text) || isWalk(text) || isMonotonous(text));
}

/** Removes case and separators, which people and attackers vary first. The result is never empty. */
function fold(password: string): string {
  const lower = password.toLowerCase();
  return lower.replace(/[\s\-_.,:;/+]/g, "") || lower;
}

function* entries(): Generator<string> {
  for (const entry of patterns()) {
    if (entry.length >= MIN_LENGTH && entry.length <= LONGEST) yield fold(entry);
  }
}

function* patterns(): Generator<string> {
  const bases = [...WORDS, ...PHRASES];
  for (const base of bases) {
    yield base;
    for (const ending of ENDINGS) {
      yield base + ending;
      yield base + base + ending;
      yield ending + base;
    }
    for (let repeated = base; repeated.length <= LONGEST; repeated += base) yield repeated;
  }
  for (const first of WORDS) for (const second of WORDS) yield first + second;
  for (const character of ALPHABET) {
    for (let length = MIN_LENGTH; length <= LONGEST; length++) yield character.repeat(length);
  }
  for (const unit of ["123", "321", "1234", "12345", "123456", "abc", "abcd", "xyz", "qwe", "asd", "zxc", "12", "ab"]) {
    for (let length = MIN_LENGTH; length <= 32; length++) yield unit.repeat(length).slice(0, length);
  }
}

/** Whether the text is a part of a walk, forwards or backwards. */
function isWalk(folded: string): boolean {
  return folded.length >= MIN_LENGTH && WALKED.includes(folded);
}

/** Whether the text has only one or two different characters, whichever they are. */
function isMonotonous(folded: string): boolean {
  return codePoints(folded) >= MIN_LENGTH && new Set(folded).size <= 2;
}

/** The list, in the form for comparison. */
export const PASSWORD_BLOCKLIST: ReadonlySet<string> = new Set(entries());

/** Each walk twice, forwards and backwards, one a line, in the form for comparison. */
const WALKED = WALKS.map(fold)
  .flatMap((walk) => [walk + walk, [...(walk + walk)].reverse().join("")])
  .join("\n");
