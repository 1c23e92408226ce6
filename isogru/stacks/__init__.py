"""Several layers in one case: a stack, of one direction or both, and what somebody computed of it."""

from isogru.stacks.problem import FORMAT as FORMAT
from isogru.stacks.problem import Stack as Stack
from isogru.stacks.problem import is_stack as is_stack
from isogru.stacks.problem import read as read
from isogru.stacks.problem import write as write
