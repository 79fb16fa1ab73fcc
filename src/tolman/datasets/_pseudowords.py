"""Nonsense words of 4 to 5 letters that sound English, for entities about which no model can know anything.

The papers take theirs from a pseudo-word generator that builds words from plausible English phonemes (arXiv 2505.00661, after Gao et al. 2023: "femp", "glon",
"troff", "yomp"). This generator is our own: onset, short vowel and coda of an English syllable, without the real words among them.
"""

from functools import cache

import numpy as np

ONSETS = "b bl br ch cl cr d dr f fl fr g gl gr h j k kl l m n p pl pr r s sh sk sl sm sn sp st sw t th tr tw v w wh y z"
VOWELS = "aeiou"
CODAS = "b ck d ff ft g k ll lk lm lp lt m mp n nd ng nk nt p r rb rd rf rk rm rn rp rt sh sk sp st t x zz"


@cache
def lexicon() -> tuple[str, ...]:
    """Every word that can be drawn, in alphabetical order. No word ends in a single s, so none looks like a plural."""
    words = {onset + vowel + coda for onset in ONSETS.split() for vowel in VOWELS for coda in CODAS.split()}
    return tuple(sorted(word for word in words.difference(REAL.split()) if 4 <= len(word) <= 5))


def pseudowords(count: int, draw: np.random.Generator) -> list[str]:
    """`count` different words in random order. Callers refuse counts beyond `len(lexicon())`, naming the field that asks for them."""
    words = lexicon()
    assert 0 <= count <= len(words), f"{count} pseudo-words wanted, {len(words)} exist"
    return [words[i] for i in draw.permutation(len(words))[:count].tolist()]


REAL = """
back baff baft balk ball balm balt band bang bank bant barb bard bark barm barn bart bash bask bast beck bell belt bend beng bent berm bern bert best
bick biff bilk bill bind bing bink bint bird birk birn bizz blab black blad blaff blag blan bland blank blart blash blast blat bleb bleck bled blend
blent blest blet blick blimp blind blink blip blizz blob block blog blond blot blub bluff blunk blunt blup blur blurb blurt blush bock boff bolk boll
bolt bond bong bonk bord born bort bosh bosk brab brack brad brag bram bran brand brank brant brash brat breck bred brent bret brick brig brill brim
brin bring brink brisk brit brizz brob brock brod brog broll bronk brot brunt brush brut bruzz buck buff bulk bull bult bump bund bung bunk bunt burd
burn burp burt bush busk bust buzz chab chack chad chaff chaft chalk cham champ chang chank chant chap char chard chark charm chart chat check chelp
chen cheng chert chest chet chick chid chill chimp chin ching chink chint chip chirk chirm chirp chit chob chock chomp chop chord chort chub chuck chud
chuff chug chum chump chun chunk churm churn chut clack clad clag clam clamp clan clang clank clap clark clart clash clasp clat cleck cled cleft cleg
clem clep clerk click cliff clift cling clink clint clip clit clix clock clod cloff clog clomp clop closh clot club cluck cluff clump clung clunk crab
crack craft crag cram cramp cran crank crap crash crax crest crex crib crick crig crimp crin crink crisp crock croft crom cronk crop cruck crum crump
crunk crunt crush crust crux daff daft dalk dalt damp dand dang dank dard dark darn dart dash deck deft dell dent derm dern desk dick dill ding dink
dint dird dirk dirt dish disk dist dock doff doll dolt dong dont dork dorm dorn dorp drab draff draft drag dram drang drank drant drat dreck dreg dreng
drest drib drift drill drink drip drisk droll drop drub drug drum drung drunk duck duff dull dult dump dung dunk dunt durn dush dusk dust fack faff fall
fand fang fant farm fart fash fast feck fell felt fend fent ferk fern fest fill film find fink firk firm firn fish fist fizz flack flaff flag flak flam
flan flank flap flash flask flat flax fleck fled flem flesh flet flex flick flimp fling flint flip flirt flisk flit flix flob flock flog flong flop
flosh flot flub fluff flump flung flunk flurn flush flusk flux fock folk fond font forb ford fork form fort fosh frab frack frag fram frank frap frat
freck fred fresh fret frib frig frill frim frisk frist frit frizz frock frog from frond front frosh frost frot frump frush fuck fuff fulk full fund funk
funt fust fuzz gaff gall galp galt gamp gang gant garb garn gash gasp gast geck gell gelt gent gerb germ gest gift gill gilt gimp ging gink gird girn
girt gish gist gizz glack glad glam gland glar gleg glen glent glib gliff glink glint glisk glom glop glor glost glub gluck glug glum glump glut goff
goll gond gong gorb gosh grab grad graff graft gram gramp grand grank grant grasp grat greg grid griff grift grig grill grim grimp grin grind grip grist
grit groff grog grok grot grub gruff grum grump grun grunt grush guff gull gulp gump gunk gurk gurt gush gust hack haff haft hall halt hand hang hank
hant harb hard hark harm harn harp hart hash hask hasp heck heft hell helm help hemp hend hent herb herd hern hest hick hill hilt himp hind hing hint
hish hist hizz hock holl holm holt hong honk horn host huck huff hulk hull hump hung hunk hunt hurf hurt hush husk huzz jack jank jazz jeff jell jerk
jerm jert jest jiff jill jilt jimp jing jink jock joll jolt jong josh juck jump junk junt just kang kart keck kelk kell kelp kelt kemp kend kent kerf
kern kick kill kilp kilt kind king kink kirk kirn kish kist klam klan klick kling klip klom klop klosh koff koft kulm kung kunk kunt kurd kurt lack lall
lamp land lang lank lant lard lark larp lash lask last leck left lend lent lerp lest lick lift lill lilt limp lind ling link lint lish lisk lisp list
lock loft loll long lonk lord lorn losh lost luck luff lull lump lung lunk lunt lurk lush lusk lust mack mall malm malt mand mang mank mant mark marm
mart mash mask mast mell melt mend meng ment merk mesh mick miff milk mill milt mimp mind ming mink mint mird mirk mist mock moff moll molt mong monk
mont morn mort mosh most muck muff mulk mull mult mump mund mung munt murk mush musk must muzz nant nard nark nash nast neck nell nerd nesh nest nick
ning nock noll norm norn nosh nuff null pack pall palm palp palt pand pang pank pant pard park part pash past peck pell pelt pend penk pent perk perm
pern pert pest pick piff pill pilm pimp pind ping pink pint pirn pish pisk pist plack plak plan plang plank plant plap plash plat pleb pleck pled plex
plim pling plink plock plod plop plot pluck plud pluff plug plum plump plunk plup plush pock polk poll polt pomp pond pong pont pork port posh post prad
pram prank prat preg prep prest prick prig prik prill prim primp prink print prob prod prog prom prong prop prox prunt prut puck puff pulk pull pulp
pump pung punk punt push rack raff raft ramp rand rang rank rant rash rasp razz reck reft rend renk rent resh resp rest rick riff rift rill rind ring
rink risk risp rist rock roll romp rond rong ruck ruff rull rump rung runt rush rusk rust sack saft salm salp salt samp sand sang sank sant sard sark
sart sash seck sell selt send sent serb serf sert shab shack shad shaft shag shall shalt sham shan shang shank shant shap shard shark sharn sharp shat
shed shell shen shend sheng sher shift shik shill shim shin ship shirk shirt shish shit shock shod shog shop shor shorn short shot shuck shuff shug shun
shunt shurf shush shut sick sift silk sill silt simp sind sing sink sish sist sizz skaff skag skank skart skat skeg skell skelp skemp sken skep sker
skid skiff skift skill skim skimp skin skink skip skirp skirt skit skort skulk skull skulp skun skunk slab slack slad slag slam slamp slang slank slant
slap slart slash slat sleb sleck sled slent slick slid slim sling slink slip slirt slish slit slob slock slod slog slon slonk slop slorp slosh slot slub
slud slug slum slump slung slunk slur slurp slush slut smack small smalm smalt smarm smart smash smell smelt smirk smit smock smog smolt smug smur smush
smut snab snack snaff snag snap snark sneb sneck sned snell snerp snib snick sniff snift snig snip snirt snit snob snock snod snog snop snork snort snot
snub snuck snuff snug snum snup snur snurp snurt sock soft sond song sonk sorb sorn sort sosh spack spad spak spall spalt spam span spang spank spar
spark sparm spart spat speck sped spelk spell spelt spend spent sperm spet spex spick spiff spig spill spilt spin spink spirt spit spock spong spor
spork sport sposh spot spud spug spun spung spunk spur spurn spurt sput stab stack staff stag stalk stall stam stamp stan stand stang stank stap star
stark starn start stash stat steg stell stem sten stend steng stent step sterk stern stert stet stib stick stid stiff still stilt stim sting stink stint
stir stirk stirp stob stock stod stoff stog stomp stond stong stop stork storm stosh stot stub stuck stud stuff stug stull stulm stum stump stun stung
stunk stunt sturk sturt stut suck suff sulk sull sump sung sunk sunt surd surf swab swack swad swag swam swamp swan swang swank swap sward swarf swarm
swart swash swat sweft swell swelp swelt swep swerd swick swift swig swill swim swing swink swird swish swob swom sword sworn swosh swot swum swung tack
taft talk tall tamp tang tank tarn tarp tart tash task teck teff tell telt temp tend teng tent term tern terp test thack thad than thank thar tharf
tharm that theb theft them then therm thick thig thilk thill thin thing think thir third thirt thob thoft thon thong thorn thorp thort thot thud thug
thump thung thunk thurm thurt tick tiff tift till tilt tind ting tink tint tock toff toft toll tolt tong tonk torn tort tosh tosk tost track trag tram
tramp tran trank trant trap trash trek trem trend trent trest tret trick trig trill trim trin trink trip trist trix trock trod troft trog troll tromp
tron trot trub truck truff trug trull trump trun trunk trush trust tuck tuff tuft tump tund tung tunk turb turd turf turk turm turn turp tush tusk twalt
twang twank twant twat twerk twerp twick twig twill twilt twin twink twirk twist twit vall vamp vang vast vell vend vent verb verd vern vert vest vick
vill vint volt wack waff waft walk wall walt wamp wand wang wank want ward warf wark warm warn warp wart wash wasp wast weft welk well welt wend went
werf wert west whack whalm whalp wham whamp whan whand whang whank whap whar wharf wharp whart what wheft whelk whelm whelp when whet whick whid whiff
whift whig whilk whill whim whin whing whip whir whish whisk whisp whist whit whizz whom whop whort whud whuff whulk whun whup whush wick wilk will wilt
wimp wind wing wink wint wird wish wisp wist woft wong wonk wont word work worm worn wort wulk wull wush wusp wust yack yaff yamp yang yank yarb yard
yark yarm yarn yelk yell yelm yelp yelt yerb yerd yerk yern yest yill yilt yird yirk yirm yirn yock yolk yond yont york yuck yuft yurt zack zant zarf
zarp zend zest zing zink zizz zoll zonk
"""
"""What the syllables make that is a word: all of Webster's Second (1934, public domain), names included, and later or rude ones from a list of our own."""
