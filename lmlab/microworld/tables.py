"""The words of the world as tables to read: things, predicates, names.

Notation: `hen/chicken` is one concept with two words, the first the usual one; `mouse>mice` gives an irregular plural;
`bank.river` is one sense of the word "bank". Within a row the first concepts are the most frequent ones.
"""

# kind: its nouns. The kinds of GOODS can be owned, bought and broken.
NOUNS = """
animal: dog/hound cat horse goat cow hen/chicken rabbit/bunny duck lamb donkey pig/hog goose>geese mouse>mice
 bat.animal crane.bird seal.animal fox>foxes pony>ponies turkey frog
food: loaf>loaves/bread>breads cake egg pie soup sausage pancake bun/roll dumpling omelette cheese
crop: apple potato>potatoes pear onion carrot plum tomato>tomatoes peach>peaches turnip cherry>cherries
tool: knife>knives hammer axe saw rope brush>brushes ladder spade/shovel needle rake pen.writing nail.iron drill
 paint.can match.fire>matches wrench>wrenches bow.weapon
vessel: cup/mug bowl pot bottle plate/dish>dishes basket jug/pitcher box>boxes chest.box bucket/pail barrel kettle vase
furniture: chair table light.lamp bed mirror clock bench>benches stool shelf>shelves desk carpet/rug pillow/cushion
clothing: hat coat/jacket shirt shoe scarf>scarves dress>dresses glove belt ring bow.ribbon sweater cap boot
vehicle: cart/wagon boat bike/bicycle sled/sledge van lorry>lorries/truck crane.machine
instrument: drum flute fiddle/violin horn guitar harp piano trumpet bell
toy: ball doll kite puzzle bat.club marble whistle balloon
document: book letter map card/postcard note newspaper seal.stamp photo/picture ticket
plant: rose tree tulip bush>bushes vine oak palm.tree herb lily>lilies fern
body: hand arm knee foot>feet leg ear finger palm.hand chest.body nail.finger elbow shoulder
game: race play.stage game dance.party match.game>matches walk.trip contest/competition show.stage
 swim.race ride.trip run.race
place at: market school mill station harbour/port inn/tavern church>churches bank.money plant.factory shop/store
 spring.water well castle
place in: garden kitchen forest/wood barn park library>libraries pen.fold cellar workshop yard
place on: hill bridge beach>beaches square bank.river island road/street
kind: animal thing tool container garment vehicle instrument toy plant.flora
money: coin
"""
GOODS = ("furniture", "vessel", "tool", "clothing", "vehicle", "instrument", "toy", "document")
PLACES = ("place at", "place in", "place on")
GROUPS = {"GOODS": GOODS, "PLACE": PLACES, "FOOD": ("food", "crop")}
# kind: the noun that names it, where there is one
NAMES_OF_KINDS = {
    "animal": "animal",
    "tool": "tool",
    "vessel": "container",
    "clothing": "garment",
    "vehicle": "vehicle",
    "instrument": "instrument",
    "toy": "toy",
    "plant": "plant.flora",
}

# attribute: its values. They exclude each other, and a thing keeps its own through a story.
ATTRIBUTES = """
colour: red blue white green black brown yellow grey
size: big/large small/little
age: old/ancient new
weight: heavy light.weight
price: cheap expensive/costly
"""

ATTRIBUTES_OF = {  # in the order in which they stand before a noun
    "goods": "size age weight price colour",
    "animal": "size age colour",
    "food": "size price",
    "crop": "size price",
    "plant": "size age",
}

# A predicate belongs to exactly one sphere of life; the splits are made of (person, sphere).
# verb | subject | object | others. The forms are base, past, participle where they are not regular; "-" is none.
# After the others: "to" of `give` may move (gave Tom the cup); "state" verbs are not told in the passive.
VERBS = """
market
buy bought bought/purchase | person | GOODS FOOD animal | from:person at:PLACE |
sell sold sold | person | GOODS FOOD animal | to:person at:PLACE | dative
give gave given/hand | person | GOODS | to:person | dative
receive/get got got | person | GOODS | from:person |
lend lent lent | person | GOODS | to:person | dative
borrow | person | GOODS | from:person |
offer | person | GOODS animal | to:person | dative
send sent sent/mail | person | document clothing toy | to:person | dative
return | person | GOODS | to:person |
show showed shown | person | GOODS | to:person | dative
pay paid paid | person | person | - |
own/possess | person | GOODS animal | - | state
need/require | person | GOODS animal | - | state
keep kept kept | person | GOODS animal | - | state
enter | person | PLACE | - |
house
cook | person | FOOD | at:PLACE |
bake | person | food | at:PLACE |
eat ate eaten/devour | person animal | FOOD | at:PLACE |
taste/try tried tried | person | FOOD | - |
want | person | FOOD | - | state
share | person | FOOD | with:person |
feed fed fed | person | animal | at:PLACE |
wash | person | animal vessel clothing | at:PLACE |
brush.groom | person | animal | at:PLACE |
fill | person | vessel | at:PLACE |
plant.grow | person | plant crop | at:PLACE |
water | person | plant | - |
pick/gather | person | crop plant | at:PLACE |
cut cut cut | person | FOOD | - |
smell/sniff | person | plant FOOD | - |
grow grew grown | plant crop | - | at:PLACE |
workshop
make made made/craft | person | furniture toy vessel | at:PLACE |
build built built/construct | person | furniture vehicle toy | at:PLACE |
repair/mend/fix | person | GOODS | at:PLACE |
paint | person | furniture vehicle toy | at:PLACE |
carve | person | toy furniture | at:PLACE |
break broke broken/smash | person | GOODS | at:PLACE |
drop | person | vessel tool toy document | at:PLACE |
lose lost lost/misplace | person | GOODS | at:PLACE |
find found found/discover | person | GOODS | at:PLACE |
seek sought sought | person | GOODS | at:PLACE |
steal stole stolen | person | GOODS | from:person |
hide hid hidden/conceal | person | GOODS | at:PLACE |
burn/scorch | person | document clothing furniture | at:PLACE |
light lit lit | person | match.fire light.lamp | - |
sharpen | person | tool | at:PLACE |
use | person | tool | - |
journey
go went gone | person animal | - | to:PLACE |
walk/stroll | person animal | - | to:PLACE |
run ran run/rush | person animal | - | to:PLACE |
travel/journey | person | - | to:town |
ride rode ridden | person | bike sled horse pony donkey | to:town |
drive drove driven | person | van lorry cart crane.machine | to:town |
cross | person | PLACE | - |
reach | person | PLACE | - |
leave left left | person | PLACE | - |
visit | person | town | - |
see saw seen/notice | person | animal plant vehicle | at:PLACE |
follow/chase | person | animal person | to:PLACE |
catch caught caught | person | animal | at:PLACE |
carry | person | person GOODS | to:PLACE |
hurt hurt hurt/injure | person | body | at:PLACE |
rest/relax | person animal | - | at:PLACE |
sleep slept slept | person animal | - | at:PLACE |
swim swam swum | person animal | - | near:bank.river island beach |
wait | person | - | for:person at:PLACE |
social
meet met met | person | person | at:PLACE |
greet/welcome | person | person | at:PLACE |
thank | person | person | - |
help/assist | person | person | at:PLACE |
invite | person | person | - |
teach taught taught/instruct | person | person | at:PLACE |
like | person | game instrument person | - | state
love/adore | person | game instrument person | - | state
hate/detest | person | game instrument person | - | state
admire | person | person | - | state
miss | person | person | - | state
praise | person | person | - |
blame | person | person | - |
insult | person | person | - |
forgive forgave forgiven/pardon | person | person | - |
hug/embrace | person | person | - |
play | person | instrument game | at:PLACE |
win won won | person | game | at:PLACE |
watch | person | game person | at:PLACE |
sing sang sung | person | - | at:PLACE |
dance | person | - | with:person at:PLACE |
smile | person | - | - |
life
live | person | - | in:town |
work | person | - | for:company |
come came come | person | - | from:town |
nothing
cost cost cost | GOODS FOOD animal | - | - |
be was been | person | - | - |
"""

# sphere: states of a person (and of an animal); "nothing": states of things, which say nothing of a person
STATES = """
market: poor rich pleased/content
house: hungry/starving thirsty sick/ill tired/sleepy
workshop: proud angry/cross upset careless clumsy skilful
journey: cold/chilly afraid/scared exhausted/weary late/tardy lost brave/bold
social: happy/glad sad/unhappy lonely bored rude/impolite kind grateful/thankful jealous
life: young/youthful tall famous/renowned clever/smart
nothing: broken clean dirty/filthy safe empty full tasty/delicious rotten/spoiled good/fine bad lovely/beautiful
 awful/terrible
"""

# Pairs of concepts that language B calls by one word, as A does with the senses marked by a dot.
SHARED_IN_B = "goat:shirt duck:knife pear:flute rose:hammer tomato:map knee:drum rabbit:chair onion:kite"
SYMMETRIC = ("meet", "dance")  # done with each other

# event with another person | states of the subject, and | of the other that explain it. States occur on both sides, so
# that neither the event alone nor the state alone tells whose it is.
REASONS = """
give to | rich pleased | poor
lend to | rich pleased | poor
offer to | poor | rich
sell to | poor | rich pleased
borrow from | poor | rich pleased
receive from | poor | rich
buy from | rich | poor
pay object | rich pleased | poor
carry object | brave | exhausted lost afraid
follow object | lost afraid | brave
wait for | lost exhausted | late brave
help object | kind happy | sad lonely
hug object | grateful happy | sad lonely
thank object | grateful | kind
praise object | grateful happy | kind
blame object | sad jealous | rude
insult object | rude jealous | happy
forgive object | kind | sad rude
hate object | jealous sad | rude happy
love object | happy | kind
miss object | lonely sad | kind
invite object | happy kind | lonely grateful
"""
REASON_SPHERES = ("market", "journey", "social")

JOBS = """baker farmer teacher/schoolteacher tailor doctor/physician smith/blacksmith painter carpenter/joiner sailor
merchant/trader miller gardener cook.job singer writer/author nurse potter"""

# tense: time expressions; "_" joins words of one expression
TIMES = """
past: yesterday last_week on_Monday this_morning long_ago in_spring
present: every_day now every_week these_days in_summer on_Sundays
future: tomorrow next_week soon on_Friday tonight in_winter
"""
MANNERS = "quickly carefully happily quietly slowly gladly often never"

WOMEN = """Mary Anna Emma Sarah Alice Clara Helen Julia Laura Nora Ruth Rosa Martha Grace Lucy Edith Ellen Agnes Irene
Hannah Flora Ida Jane Kate Lena Lydia Mabel Maud Nancy Nina Olive Paula Rachel Rita Sophie Stella Susan Sylvia Tess
Vera Viola Wendy Amy Bella Beth Bridget Carla Cora Daisy Delia Dora Dinah Elsa Esther Eva Fay Frida Gemma Greta Hilda
Holly Ines Iris Ivy Jill Joan Judith June Karen Kim Leah Lois Lola Mara Marion Mina Molly Myra Nell Norma Olga Opal
Pearl Petra Polly Quinn Rhoda Robin Roxana Sally Selma Tara Thea Tina Ursula Vivian Willa Yara Zelda Zoe"""
MEN = """John Tom Peter Paul James Henry David George Mark Adam Simon Frank Carl Oscar Martin Hugo Felix Albert Arthur
Ben Bruno Charles Daniel Edgar Edward Eric Ernest Fred Gilbert Harold Harry Herman Hubert Ian Isaac Ivan Jack Jacob
Jasper Jeremy Joel Jonas Joseph Julian Kevin Kurt Lars Leo Leon Louis Lucas Luther Magnus Marcus Max Michael Miles
Milo Nathan Ned Neil Nigel Noah Norman Oliver Otto Owen Patrick Percy Philip Ralph Raymond Rex Richard Robert Roger
Roland Rufus Rupert Sam Samuel Saul Scott Sidney Stanley Steven Theo Tobias Victor Vincent Wade Walter Warren Wesley
William Xavier Yorick Zachary Abel Adrian"""
TOWNS = """Dorn Velby Harwick Milton Oakford Senna Tarn Ulvik Brenby Corhaven Eastmere Fenwold Galt Holm Ister Kelby
Lorne Marwick Norham Ostby Penmoor Quarn Rusk Stanwick"""
# a company is called after a town, a person, or nothing else
COMPANIES = """Dorn_Mills Mary_Foods Rosa_Trading Velby_Tools John_Glass Harwick_Works Anna_Boats Oscar_Press
Milton_Toys Quill_Paper Emma_Garments Tom_Motors Senna_Farms Hugo_Paints Sarah_Lamps Galt_Bakeries"""
NUMBERS = "one two three four five six seven eight nine ten eleven twelve"
