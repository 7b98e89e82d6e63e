"""JMESPath expressions that strangers write, bounded in size, time and memory.

The grammar, the truth of values and the functions are those of https://jmespath.org. No expression
runs code, reads a file or reaches beyond the data that it is given. Evaluation is counted in steps,
not in seconds, so that it ends in the same way on every machine.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import (
    EmptyExpressionError,
    IncompleteExpressionError,
    JMESPathTypeError,
    LexerError,
    ParseError,
)
from jmespath.functions import TYPES_MAP, Functions, signature
from jmespath.visitor import Options, TreeInterpreter

MAX_BYTES = 1024
"""Of an expression's text, as UTF-8."""
MAX_NODES = 400
"""Of an expression's syntax tree."""
MAX_DEPTH = 50
"""Of an expression's syntax tree."""
MAX_STEPS = 50_000
"""Of one evaluation, which takes less than a tenth of a second for them, and some MB."""

CACHED = 1024
TOKEN_SHOWN = 40
MESSAGE_SHOWN = 100
CHARACTERS_A_STEP = 64
BITS_A_STEP = 64

JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# The place of the argument that is an expression itself (&name).
TAKES_EXPRESSION = {"map": 0, "sort_by": 1, "min_by": 1, "max_by": 1}
LOOKS_AT_NO_ELEMENT = {"length", "map", "not_null", "to_array", "type"}
MAKES_VALUES = {
    "filter_projection",
    "function_expression",
    "multi_select_dict",
    "multi_select_list",
    "projection",
    "value_projection",
}


class ExpressionError(ValueError):
    """An expression that is no good, or of no use for some data; the message shows no data."""


class InvalidExpression(ExpressionError):
    """Text that is no expression, or one that is too large.

    `position` is where in the text the fault lies, counted from 0, if it lies in one place.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        where = "" if position is None else f"Column {position + 1}: "
        super().__init__(where + message)
        self.position = position


class EvaluationError(ExpressionError):
    """An expression that has no value for the data it was given."""


class TooCostly(EvaluationError):
    """An evaluation that was stopped because it took too many steps."""


class Budget:
    """The steps that an evaluation may still take.

    A step is a visit to a node of the syntax tree, a value that is looked at or put into a result,
    or 64 characters of text in one.
    """

    __slots__ = ("left",)

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooCostly(
                "The expression takes too many steps for this data: let it select less, and once."
            )

    def spend_on(self, value: Any) -> None:
        """Pay for `value` and all that is in it, each time that it is in it."""
        # A value may hold one list a million times: what it costs must be known before it is
        # compared or written out, and this walk stops where the steps end.
        self.spend(1)
        todo = [value]
        while todo:
            one = todo.pop()
            if isinstance(one, str):
                self.spend(len(one) // CHARACTERS_A_STEP)
            elif isinstance(one, list):
                self.spend(len(one))
                todo.extend(one)
            elif isinstance(one, dict):
                self.spend(len(one) + sum(map(len, one)) // CHARACTERS_A_STEP)
                todo.extend(one.values())
            elif type(one) is int:
                self.spend(one.bit_length() // BITS_A_STEP)
            elif type(one) is float and not math.isfinite(one):
                raise EvaluationError("The expression makes a number that JSON cannot say.")


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that is well formed and not too large."""

    text: str
    tree: Any = field(repr=False, compare=False)

    @staticmethod
    @lru_cache(CACHED)
    def parse(text: str) -> "Expression":
        """Raises InvalidExpression."""
        _check_size(text)
        tree = _tree(text)
        _check_tree(tree, text)
        return Expression(text, tree)

    def evaluate(self, data: Any, budget: Budget | None = None) -> Any:
        """The value for `data`, which is JSON as json.loads returns it; the result is so too.

        It may share parts with `data`: change neither. Raises EvaluationError, and nothing else.
        """
        budget = budget or Budget()
        try:
            return _Interpreter(budget).visit(self.tree, data)
        except EvaluationError:
            raise
        except JMESPathTypeError as error:
            wanted = " or ".join(error.expected_types).replace("-", " of ")
            given = TYPES_MAP.get(error.actual_type, error.actual_type)
            raise EvaluationError(f"{error.function_name}() takes {wanted}, not {given}.") from None
        except RecursionError:
            raise TooCostly("The expression or the data is nested too deeply.") from None
        except Exception as error:
            # What the library leaves to Python: a sum beyond the largest float, the least of a
            # number and a string.
            name = type(error).__name__
            raise EvaluationError(f"The expression has no value for this data ({name}).") from None


def is_true(value: Any) -> bool:
    """Whether a result counts as true: all but null, false, "", [] and {} does, 0 too."""
    return not (value is None or value is False or value == "" or value == [] or value == {})


def _check_size(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidExpression("A lone surrogate is no text.", error.start) from error
    if size > MAX_BYTES:
        raise InvalidExpression(f"The expression has {size} bytes: {MAX_BYTES} are the limit.")
    if "\0" in text:
        raise InvalidExpression("A NUL is not allowed.", text.index("\0"))


def _tree(text: str) -> Any:
    try:
        return jmespath.compile(text).parsed
    except EmptyExpressionError:
        raise InvalidExpression("The expression is empty.") from None
    except IncompleteExpressionError:
        raise InvalidExpression("The expression ends too early.", len(text)) from None
    except LexerError as error:
        message = str(error.message)[:MESSAGE_SHOWN]
        raise InvalidExpression(f"{message}.", error.lexer_position) from None
    except ParseError as error:
        token = str(error.token_value)[:TOKEN_SHOWN]
        raise InvalidExpression(f"“{token}” is not expected here.", error.lex_position) from None
    except RecursionError:
        raise InvalidExpression("The expression is nested too deeply.") from None
    except ValueError as error:
        raise InvalidExpression(f"The expression is not well formed: {error}.") from None


def _walk(tree: Any) -> Iterator[tuple[Any, int, Any]]:
    """Each node with its depth and its parent."""
    todo = [(tree, 1, None)]
    while todo:
        node, depth, parent = todo.pop()
        yield node, depth, parent
        # The children of a slice are numbers.
        todo += [(one, depth + 1, node) for one in node["children"] if isinstance(one, dict)]


def _check_tree(tree: Any, text: str) -> None:
    for count, (node, depth, parent) in enumerate(_walk(tree), start=1):
        if depth > MAX_DEPTH:
            raise InvalidExpression(
                f"The expression is nested too deeply: {MAX_DEPTH} levels are the limit."
            )
        if count > MAX_NODES:
            raise InvalidExpression(
                f"The expression has too many parts: {MAX_NODES} are the limit."
            )
        if node["type"] == "function_expression":
            _check_call(node, text)
        elif node["type"] == "expref" and not _takes_expression(parent, node):
            raise InvalidExpression(
                f"An expression (&…) can only be given to {', '.join(TAKES_EXPRESSION)}."
            )
        elif node["type"] == "slice" and node["children"][2] == 0:
            raise InvalidExpression("A slice cannot go in steps of 0.")
        elif node["type"] in ("literal", "key_val_pair"):
            try:
                # Python reads more than it can write: NaN, 1e999, "\ud800".
                json.dumps(node["value"], allow_nan=False, ensure_ascii=False).encode()
            except ValueError as error:
                raise InvalidExpression(f"A literal says what JSON cannot: {error}.") from None


def _check_call(node: Any, text: str) -> None:
    name, given = node["value"], len(node["children"])
    found = re.search(rf"\b{name}\s*\(", text)
    position = found and found.start()
    spec = _Functions.FUNCTION_TABLE.get(name)
    if spec is None:
        known = ", ".join(sorted(_Functions.FUNCTION_TABLE))
        raise InvalidExpression(f"There is no function {name}(): use {known}.", position)
    wanted = len(spec["signature"])
    variadic = spec["signature"][-1].get("variadic", False)
    if given < wanted or (given > wanted and not variadic):
        least = "at least " if variadic else ""
        plural = "" if wanted == 1 else "s"
        raise InvalidExpression(
            f"{name}() takes {least}{wanted} argument{plural}, not {given}.", position
        )


def _takes_expression(parent: Any, node: Any) -> bool:
    if parent is None or parent["type"] != "function_expression":
        return False
    place = TAKES_EXPRESSION.get(parent["value"])
    return place is not None and parent["children"][place] is node


class _Functions(Functions):
    """The library's functions; what they do costs steps, and none makes what is no JSON."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        arguments = list(resolved_args)
        if function_name not in LOOKS_AT_NO_ELEMENT:
            self.budget.spend_on(arguments)
        return super().call_function(function_name, arguments)

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        self.budget.spend(len(separator) * len(array) // CHARACTERS_A_STEP)
        return separator.join(array)

    @signature({"types": ["array", "string"]}, {"types": []})
    def _func_contains(self, subject: list[Any] | str, search: Any) -> bool:
        if isinstance(subject, str) and not isinstance(search, str):
            return False
        return search in subject

    @signature({"types": []})
    def _func_to_number(self, arg: Any) -> int | float | None:
        if isinstance(arg, str):
            # Python reads more than JSON has: nan, 1_000, spaces.
            if not JSON_NUMBER.fullmatch(arg):
                return None
            return float(arg) if set(arg) & set(".eE") else int(arg)
        return arg if isinstance(arg, int | float) and not isinstance(arg, bool) else None


class _Interpreter(TreeInterpreter):
    """The library's interpreter, on a budget."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(Options(custom_functions=_Functions(budget)))
        self.budget = budget

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self.budget.spend(1)
        value = super().visit(node, *args, **kwargs)
        if node["type"] in MAKES_VALUES:
            self.budget.spend_on(value)
        return value

    def visit_comparator(self, node: Any, value: Any) -> bool | None:
        left, right = (self.visit(child, value) for child in node["children"])
        compare = self.COMPARATOR_FUNC[node["value"]]
        if node["value"] in ("eq", "ne"):
            if isinstance(left, list | dict) and isinstance(right, list | dict):
                self.budget.spend_on(left)
            return bool(compare(left, right))
        # The library leaves it to Python to compare a number to a string.
        if {type(left), type(right)} <= {int, float} or type(left) is type(right) is str:
            return bool(compare(left, right))
        return None
