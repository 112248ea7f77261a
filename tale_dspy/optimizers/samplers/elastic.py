"""placeholder"""
import json, math, threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers.base import BudgetSampler, History, Observation, history_of
from tale_dspy.optimizers.samplers.elasticity import BOTTOM, Law, believe
from tale_dspy.optimizers.samplers.fitting import fit
from tale_dspy.optimizers.samplers.lookahead import Outlook, outlook

class ElasticSampler(BudgetSampler):
    def __init__(self, price=0.03, max_calls=10):
        self.price=price; self.max_calls=max_calls
        self.pool=[]; self.law=Law(); self.nxt=4; self.cache=OrderedDict()
        self.promised=[0.0]*6; self.kept=[0.0]*6
        self.bottom=[0.4,5.0]; self.usetrust=True
    def look(self,h):
        k=(id(self.law),h)
        if k not in self.cache:
            self.cache[k]=outlook(self.law,h)
            if len(self.cache)>200: self.cache.popitem(last=False)
        return self.cache[k]
    def trust(self,n):
        n=min(n,5)
        return (self.kept[n]+.3)/(self.promised[n]+.3) if self.usetrust else 1
    def worth(self,h):
        o=self.look(h)
        if o is None: return None
        t=self.trust(vain(h))
        if o.gain*t<self.price and o.gain_of_two*t<2*self.price: return None
        return o
    def bottom_due(self,h):
        return BOTTOM not in h.tried and h.lowest<=BOTTOM and self.bottom[0]/self.bottom[1]>=self.price
    def enough(self,h):
        if len(h.seen)>=self.max_calls: return True
        if not h.seen: return False
        return self.worth(h) is None and not self.bottom_due(h)
    def propose(self,h):
        if self.bottom_due(h) and self.bottom[1]>=10: return BOTTOM
        o=self.worth(h)
        if o: return o.budget
        if self.bottom_due(h): return BOTTOM
        o=self.look(h)
        return o.budget if o else (h.best.budget if h.best else h.vanilla_tokens)
    def learn(self,h):
        for n in range(6): self.promised[n]*=.97; self.kept[n]*=.97
        n=0
        for i,t in enumerate(h.seen):
            before=History(h.vanilla_tokens,h.seen[:i])
            if t.budget==BOTTOM:
                rest=History(h.vanilla_tokens,tuple(x for x in h.seen if x.budget!=BOTTOM))
                self.bottom[1]+=1; self.bottom[0]+=max(0,1-t.tokens/rest.best_tokens) if t.right else 0
                continue
            o=self.cache.get((id(self.law),before))
            if o is not None and o.budget==t.budget:
                self.promised[vain(before)]+=o.promised
                self.kept[vain(before)]+=max(0,1-t.tokens/before.best_tokens) if t.right else 0
            n+=1
        self.pool.append(h)
        if len(self.pool)>=self.nxt:
            self.law=fit(self.pool,self.law,2 if len(self.pool)<100 else 1); self.nxt=max(self.nxt+2,int(self.nxt*1.25)); self.cache.clear()

def vain(h):
    n=0; best=h.vanilla_tokens
    for t in h.seen:
        if t.budget<=BOTTOM: continue
        if t.right and t.tokens<best: best=t.tokens; n=0
        else: n+=1
    return min(n,5)
