"""What happens in the world: scripts of events in the order of time, causes before their effects.

A heading gives the sphere and the kinds of the things (T, U, F ...), places (P, Q) and towns (W); A, B, C are persons.
Marks before a step: `>` the step before is its cause, `?` sometimes left out, `*` part of the gist (of a summary).
"""

SCRIPTS = """
market T=GOODS P=PLACE
?A be poor
?T cost coins
*A need T
>*A buy T from B at P
>A pay B
?>B be pleased
?A show T to C
A keep T

market T=GOODS P=PLACE
A own T
*B need T
>*A lend T to B
?>B be pleased
?B show T to C
*B return T to A
?>A be pleased

market T=GOODS P=PLACE
A enter P
*A buy T from B at P
?T be new|old
*C need T
>*A give T to C
>C be pleased
?C not return T

market T=GOODS
*A be poor
A own T
>A offer T to B
B not need T
>B not buy T from A
*A sell T to C
>C pay A
>?A be rich

market D=document+clothing
?B be rich
*A buy D from B
*A send D to C
*C receive D from A
?>C be pleased
?C show D to B
C keep D

market N=animal
A own N
*B need N
>B offer coins to A
*A sell N to B
>?A be pleased
?N be hungry
C not own N

house F=FOOD V=vessel P=PLACE
*A be hungry
>*A cook F at P
?A taste F
?F be tasty|good|awful
A eat F
>?A not be hungry
?A wash V

house N=animal P=PLACE F=crop
*N be hungry
>*A feed N at P
?N eat F
?N be dirty
*A brush.groom N
>?N be clean
?>A be tired

house R=plant P=PLACE
*A plant.grow R at P
A water R
>R grow at P
?R be lovely
*A pick R
?B smell R
?B cut R

house F=food P=PLACE
*A bake F at P
B be hungry
>*A share F with B
B eat F
?F be tasty|lovely
>B not be hungry
?A be tired

house N=animal P=PLACE
*N be dirty
>*A wash N at P
>*N be clean
?>A be tired
?N be hungry
?>B feed N

house F=FOOD G=FOOD
*A eat F
F be rotten
>*A be sick
>*B cook G for A
A eat G
>A not be sick
?B be tired

house F=crop R=plant P=PLACE V=vessel
?A be thirsty
>?A fill V
*A pick F at P
A cut F
?A smell R
*A share F with B
B want F
?B not be hungry

workshop T=vessel+instrument+furniture P=PLACE
?A be careless
*A drop T at P
>*T be broken
>A be upset
*B repair T at P
?B be skilful
>?B be proud

workshop T=GOODS P=PLACE Q=PLACE
*A lose T at P
>A be upset
A seek T at Q
A not find T
*B find T at P
>?A not be upset

workshop T=toy+furniture+vessel P=PLACE Q=PLACE
*A make T at P
>A be proud
*B steal T from A
B hide T at Q
>A be angry
*A find T at Q

workshop T=furniture+vehicle+toy U=tool P=PLACE
?A be skilful
A sharpen U
*A build T at P
?A use U
*A paint T
?T be lovely|good
>A be proud

workshop D=document+clothing P=PLACE
*B be careless
>*B burn D at P
>A be angry
?A seek D
?B hide D at P
?B be upset

workshop U=tool P=PLACE T=furniture+toy
*A use U at P
*A break U
>A be upset
*B repair U
A not be upset
?A carve T

journey W=town V=bike+sled+horse+pony+donkey P=PLACE Q=PLACE R=PLACE
*A ride V to W
A cross P
?A be late|brave
?A carry B to Q
A be exhausted
>*A rest at Q
*A reach R
?A not be exhausted

journey H=body P=PLACE Q=PLACE
*A hurt H at P
>A not walk to Q
>A be afraid
*B see A
>*B carry A to Q
?B be exhausted
A rest at Q

journey N=animal P=PLACE Q=PLACE
*A see N at P
*A follow N to Q
>N be afraid
?N run to P
*A catch N at Q
?A be exhausted
>?A sleep at P

journey P=PLACE Q=PLACE
*A wait for B at P
B be late
>A be cold
>*A leave P
*B reach P
B not see A
?B go to Q

journey P=SWIM Q=PLACE
A go to P
*A swim near P
>*A be cold
>A run to Q
*A rest at Q
?A sleep at Q

journey W=town P=PLACE
*A travel to W
A cross P
*A be lost
>A be afraid
*B follow A to P
?B be brave
?A not be afraid
A visit W

social P=PLACE
?A be lonely
*A meet B at P
>A greet B
?B smile
*A invite B
>B be happy
?A dance with B

social I=instrument P=PLACE
*A play I at P
B watch A
?B like I
>*B praise A
>A be happy
?C be jealous

social G=game P=PLACE
*A play G at P
?B watch G
*A win G
>B admire A
*C be jealous
?>C insult A
?A not be sad

social P=PLACE
*B be rude
>B insult A
>*A be sad
A blame B
?A hate B
*A forgive B
>B be grateful

social P=PLACE
*A help B at P
>*B thank A
>A be happy
?B hug A
?A smile
?C praise A

social P=PLACE
?A be kind
*A teach B at P
*B be bored
>?B not like A
?A be sad
?C teach B

social P=PLACE
A love B
*A miss B
>A be lonely
*A meet B at P
>*A hug B
>A not be lonely
?A sing
"""
