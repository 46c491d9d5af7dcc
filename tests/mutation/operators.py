"""What a mutant is: a source file with one small mistake in it."""

import ast
from dataclasses import dataclass

__all__ = ["Mutant", "mutants_of"]

COMPARISONS = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
}
ARITHMETIC = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.BitXor: "&",
    ast.LShift: ">>",
    ast.RShift: "<<",
    ast.MatMult: "*",
}
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.FloorDiv: "//", ast.Pow: "**"}
SIGNS |= {ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>"}
INSTEAD = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "isfinite": "isnan"}
UNWRAPPED = ("abs", "sqrt", "fabs")
SYMMETRIC = ("min", "max", "minimum", "maximum", "range", "array_of", "hypot")
NOT_CODE = ("__all__",)


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        file: The source file, from the project's root.
        line: Where the change is.
        scope: The function, or "" in the module.
        before: The changed text, with what is around it in its line.
        after: The same with the mistake.
        source: The whole file with the mistake.
    """

    file: str
    line: int
    scope: str
    before: str
    after: str
    source: str

    @property
    def key(self):
        """What names it whatever line it is in."""
        return (self.file, self.scope, self.before, self.after)

    def __str__(self):
        return f"{self.file}:{self.line}\n    - {self.before}\n    + {self.after}"


class _Collector(ast.NodeVisitor):
    """Walks through a file and collects (node, replacement) pairs."""

    def __init__(self, source):
        self.source = source
        self.scope = []
        self.found = []

    def text(self, node):
        return ast.get_source_segment(self.source, node)

    def add(self, node, replacement):
        self.found.append((node, replacement, ".".join(self.scope)))

    # --- what is no code

    def visit_Import(self, node):
        pass

    visit_ImportFrom = visit_Import

    def visit_FunctionDef(self, node):
        self.scope.append(node.name)
        self.statements(node.body)
        self.scope.pop()

    def visit_ClassDef(self, node):
        self.scope.append(node.name)
        self.statements(node.body)
        self.scope.pop()

    def visit_Module(self, node):
        self.statements(node.body)

    def statements(self, body):
        for statement in body:
            docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not docstring:
                self.visit(statement)

    def is_type(self, value):
        """Whether an expression is of a layout or a signature, which compiling checks."""
        names = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
        attributes = {n.attr for n in ast.walk(value) if isinstance(n, ast.Attribute)}
        return bool(names & {"types", "array_of"} or ("dtype" in attributes and "array" not in attributes))

    def visit_Assign(self, node):
        names = [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        if any(name in NOT_CODE for name in names) or self.is_type(node.value):
            return
        if self.scope and "." not in self.scope[-1] and self.in_function:
            self.add(node, "pass")
        for target in node.targets:
            self.visit(target)
        self.visit(node.value)

    def visit_AnnAssign(self, node):
        if node.value is None or self.is_type(node.value):
            return
        self.visit(node.value)

    @property
    def in_function(self):
        return bool(self.scope) and not self.scope[-1][:1].isupper()

    def visit_AugAssign(self, node):
        self.add(node, "pass")
        target, value = self.text(node.target), self.text(node.value)
        self.add(node, f"{target} {ARITHMETIC[type(node.op)]}= {value}")
        self.add(node, f"{target} = {value}")
        self.visit(node.value)

    def visit_Expr(self, node):
        if self.in_function:
            self.add(node, "pass")
        self.visit(node.value)

    def visit_Return(self, node):
        value = node.value
        if value is None:
            return
        if isinstance(value, ast.Constant):
            self.visit(value)
            return
        self.add(node, "pass")
        if isinstance(value, ast.Name) and value.id.startswith("_"):
            self.add(value, "1" if value.id == "_OK" else "0")
        self.visit(value)

    def visit_Raise(self, node):
        self.add(node, "pass")

    def visit_Break(self, node):
        self.add(node, "pass")
        self.add(node, "continue")

    def visit_Continue(self, node):
        self.add(node, "pass")
        self.add(node, "break")

    def condition(self, test):
        text = self.text(test)
        for replacement in (f"not ({text})", "True", "False"):
            self.add(test, replacement)
        self.visit(test)

    def visit_If(self, node):
        self.condition(node.test)
        self.statements(node.body)
        self.statements(node.orelse)

    def visit_While(self, node):
        self.add(node.test, "False")
        self.visit(node.test)
        self.statements(node.body)

    def visit_IfExp(self, node):
        self.condition(node.test)
        self.visit(node.body)
        self.visit(node.orelse)

    def visit_For(self, node):
        bounds = node.iter
        if isinstance(bounds, ast.Call) and isinstance(bounds.func, ast.Name) and bounds.func.id == "range":
            arguments = [self.text(a) for a in bounds.args]
            last = len(arguments) > 1
            first, past = (arguments[0], arguments[1]) if last else ("0", arguments[0])
            rest = "".join(f", {a}" for a in arguments[2:])
            self.add(bounds, f"range({first} + 1, {past}{rest})")
            self.add(bounds, f"range({first}, {past} - 1{rest})")
        else:
            self.visit(bounds)
        self.statements(node.body)

    # --- expressions

    def visit_Compare(self, node):
        parts = [node.left, *node.comparators]
        for k, op in enumerate(node.ops):
            for sign in COMPARISONS[type(op)]:
                start, end = parts[k], parts[k + 1]
                self.add((start, end), f"{self.text(start)} {sign} {self.text(end)}")
        self.generic_visit(node)

    def visit_BinOp(self, node):
        left, right = self.text(node.left), self.text(node.right)
        self.add((node.left, node.right), (SIGNS[type(node.op)], ARITHMETIC[type(node.op)], left, right))
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.operand, ast.Constant) and isinstance(node.op, ast.USub):
            self.number(node, -node.operand.value)
            return
        self.add(node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        word = " or " if isinstance(node.op, ast.And) else " and "
        texts = [self.text(value) for value in node.values]
        bracketed = [f"({t})" if isinstance(v, ast.BoolOp) else t for t, v in zip(texts, node.values, strict=True)]
        self.add(node, f"({word.join(bracketed)})")
        old = " and " if isinstance(node.op, ast.And) else " or "
        for k in range(len(bracketed)):
            self.add(node, f"({old.join(bracketed[:k] + bracketed[k + 1 :])})")
        self.generic_visit(node)

    def visit_Call(self, node):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        function = self.text(node.func)
        if name in INSTEAD:
            self.add(node.func, function[: -len(name)] + INSTEAD[name])
        if name in UNWRAPPED:
            self.add(node, f"({self.text(node.args[0])})")
        if name not in SYMMETRIC and not any(isinstance(a, ast.Starred) for a in node.args):
            texts = [self.text(a) for a in node.args]
            for k in range(len(texts) - 1):
                if texts[k] != texts[k + 1]:
                    swapped = [*texts[:k], texts[k + 1], texts[k], *texts[k + 2 :]]
                    keywords = [f"{word.arg}={self.text(word.value)}" for word in node.keywords]
                    self.add(node, f"{function}({', '.join(swapped + keywords)})")
            for argument in node.args:
                if isinstance(argument, ast.Name) and argument.id.startswith("_") and argument.id[1:].isupper():
                    self.add(argument, "0")
        self.visit(node.func)
        for argument in [*node.args, *(word.value for word in node.keywords)]:
            self.visit(argument)

    def visit_Subscript(self, node):
        if isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant) and node.slice.value == 0:
            self.add(node.slice, "1")  # not -1: of a record's one element that is the same
            return
        self.generic_visit(node)

    def visit_List(self, node):
        names = {e.id for e in node.elts if isinstance(e, ast.Name) and e.id.startswith("_")}
        for element in node.elts:
            if isinstance(element, ast.Name) and element.id in names:
                for other in sorted(names - {element.id}):
                    self.add(element, other)
            self.visit(element)

    def visit_Constant(self, node):
        self.number(node, node.value)

    def number(self, node, value):
        if isinstance(value, bool):
            self.add(node, str(not value))
        elif isinstance(value, int):
            self.add(node, str(value + 1))
            self.add(node, str(value - 1))
        elif isinstance(value, float):
            for changed in (value * 1.1, 0.0) if value else (1.0, -1.0):
                self.add(node, repr(changed))


def mutants_of(file, source):
    """Return all mutants of a source file."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def place(line, column):
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    collector = _Collector(source)
    collector.visit(ast.parse(source))
    result, seen = [], set()
    for node, replacement, scope in collector.found:
        first, last = node if isinstance(node, tuple) else (node, node)
        start, end = place(first.lineno, first.col_offset), place(last.end_lineno, last.end_col_offset)
        if isinstance(replacement, tuple):  # an operator between two operands, whatever brackets are around them
            sign, other, _, _ = replacement
            middle = (place(first.end_lineno, first.end_col_offset), place(last.lineno, last.col_offset))
            between = source[middle[0] : middle[1]]
            start, end, replacement = *middle, between.replace(sign, other, 1)
        elif isinstance(node, tuple):
            middle = (place(first.end_lineno, first.end_col_offset), place(last.lineno, last.col_offset))
            sign = replacement[len(collector.text(first)) + 1 : -len(collector.text(last)) - 1]
            between = source[middle[0] : middle[1]]
            old = between.strip(" ()\n\\")
            start, end, replacement = *middle, between.replace(old, sign, 1)
        mutated = source[:start] + replacement + source[end:]
        from_ = source.rfind("\n", 0, start) + 1
        to = source.find("\n", end)
        before = " ".join(source[from_:to].split())
        after = " ".join((source[from_:start] + replacement + source[end:to]).split())
        if before == after or (scope, before, after, first.lineno) in seen:
            continue
        try:
            compile(mutated, file, "exec")
        except SyntaxError:
            continue
        seen.add((scope, before, after, first.lineno))
        result.append(Mutant(file, first.lineno, scope, before, after, mutated))
    return result
