"""Operators by their formulas, in float64 on nested lists: what golden cases of other shapes and options
hold. Slow and short; nothing here is of seqmark."""
import cmath
import math
import random
import struct


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def draw(seed, *dims, low=-1.0, high=1.0):
    """Numbers that float32 holds."""
    source = random.Random(seed)

    def of(rest):
        return [of(rest[1:]) for _ in range(rest[0])] if rest else f32(source.uniform(low, high))
    return of(dims)


def shape_of(x):
    return [len(x), *(shape_of(x[0]) if x else [])] if isinstance(x, list) else []


def flat(x):
    return [n for row in x for n in flat(row)] if isinstance(x, list) else [x]


def pairs(x):
    """Complex numbers with their parts as a last axis."""
    return [pairs(row) for row in x] if isinstance(x, list) else [x.real, x.imag]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


def softplus(x):
    return math.log1p(math.exp(x))


ACTIVATIONS = {"": lambda x: x, "silu": silu, "swish": silu, "gelu": gelu, "relu": lambda x: max(x, 0.0),
               "tanh": math.tanh, "sigmoid": sigmoid}


def linear(x, weight, bias=None):
    return [dot(row, x) + (bias[n] if bias else 0) for n, row in enumerate(weight)]


# --- attention ---

def slope(heads, head):
    power = 2 ** int(math.log2(heads))
    if head < power:
        return 2 ** (-8 * (head + 1) / power)
    return 2 ** (-8 * (2 * (head - power) + 1) / (2 * power))


def turn(row, position, rotary, interleaved, base):
    """Rotary positions of the first channels of a row."""
    out, n = list(row), rotary // 2
    for i in range(n):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + n)
        angle = position * base ** (-i / n)
        out[a] = row[a] * math.cos(angle) - row[b] * math.sin(angle)
        out[b] = row[b] * math.cos(angle) + row[a] * math.sin(angle)
    return out


def attention(q, k, v, causal=False, window=(-1, -1), alibi=False, rotary=0, interleaved=False, base=10000.0,
              offset=0, scale=None, masked=0):
    """q (B, Lq, H, D), k and v (B, Lk, Hkv, D)."""
    lq, lk, heads, kv = len(q[0]), len(k[0]), len(q[0][0]), len(k[0][0])
    scale = len(q[0][0][0]) ** -0.5 if scale is None else scale
    left, right = window[0], 0 if causal else window[1]
    out = []
    for qb, kb, vb in zip(q, k, v):
        keys = [[turn(kb[j][h], j, rotary, interleaved, base) for j in range(lk)] for h in range(kv)]
        rows = []
        for i in range(lq):
            own, row = i + lk - lq, []
            for h in range(heads):
                reach = h if h < masked else left
                seen = [j for j in range(lk) if (reach < 0 or own - reach <= j) and (right < 0 or j <= own + right)]
                query, of = turn(qb[i][h], offset + i, rotary, interleaved, base), h // (heads // kv)
                scores = [scale * dot(query, keys[of][j]) - alibi * slope(heads, h) * abs(own - j) for j in seen]
                most = max(scores, default=0)
                weights = [math.exp(s - most) for s in scores]
                row.append([sum(w * vb[j][of][d] for w, j in zip(weights, seen)) / sum(weights) if seen else 0.0
                            for d in range(len(vb[0][0]))])
            rows.append(row)
        out.append(rows)
    return out


# --- norms of a row ---

def norm(row, eps, weight=None, bias=None, centred=False, group=0):
    group = group or len(row)
    out = []
    for start in range(0, len(row), group):
        part = row[start:start + group]
        mean = sum(part) / group if centred else 0
        root = math.sqrt(sum((x - mean) ** 2 for x in part) / group + eps)
        out += [(x - mean) / root for x in part]
    return [x * (weight[i] if weight else 1) + (bias[i] if bias else 0) for i, x in enumerate(out)]


def gated_norm(row, z, eps, weight, group=0, norm_first=False):
    if norm_first:
        return [y * silu(g) for y, g in zip(norm(row, eps, weight, group=group), z)]
    return norm([x * silu(g) for x, g in zip(row, z)], eps, weight, group=group)


# --- convolutions of a channel ---

def convolve(u, taps):
    return [sum(taps[s] * u[t - s] for s in range(min(t + 1, len(taps)))) for t in range(len(u))]


def short_conv(x, taps, bias=0.0, before=(), act=""):
    """The last tap is that of the current step."""
    padded = [*([0.0] * (len(taps) - 1 - len(before))), *before, *x]
    return [ACTIVATIONS[act](bias + dot(taps, padded[t:t + len(taps)])) for t in range(len(x))]


# --- recurrences of one sequence and head ---

def gated_scan(q, k, v, decay, scale, state):
    """S_t = diag(decay_t) S_{t-1} + k_t v_t^T, o_t = scale q_t S_t; decay (L, K)."""
    out = []
    for t in range(len(q)):
        state = [[decay[t][i] * state[i][j] + k[t][i] * v[t][j] for j in range(len(v[0]))] for i in range(len(k[0]))]
        out.append([scale * sum(q[t][i] * state[i][j] for i in range(len(state))) for j in range(len(v[0]))])
    return out, state


def selective_channel(u, delta, a, b, c, d, state):
    """delta after its softplus; a (N); b, c (L, N)."""
    out = []
    for t, x in enumerate(u):
        state = [math.exp(delta[t] * a[n]) * state[n] + delta[t] * b[t][n] * x for n in range(len(a))]
        out.append(dot(c[t], state) + d * x)
    return out, state


# --- linear state spaces of one channel: matrices over all states, the conjugates included ---

def solve(a, b):
    """x of a x = b by elimination; b a matrix."""
    n = len(a)
    rows = [list(a[i]) + list(b[i]) for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for r in range(n):
            if r != i and rows[r][i] != 0:
                rows[r] = [x - rows[r][i] * y for x, y in zip(rows[r], rows[i])]
    return [row[n:] for row in rows]


def diagonal_step(rule, dt, a):
    """(z, f) of a mode: x_t = z x_{t-1} + f b u_t."""
    if rule == "zoh":
        return cmath.exp(dt * a), (cmath.exp(dt * a) - 1) / a
    return (1 + dt * a / 2) / (1 - dt * a / 2), dt / (1 - dt * a / 2)


def diagonal_taps(rule, dt, a, b, c, length):
    """dt: a number for each mode."""
    steps = [diagonal_step(rule, dt[n], a[n]) for n in range(len(a))]
    return [2 * sum(c[n] * b[n] * f * z ** t for n, (z, f) in enumerate(steps)).real for t in range(length)]


def diagonal_state(rule, dt, a, b, u):
    state = [0j] * len(a)
    for x in u:
        for n in range(len(a)):
            z, f = diagonal_step(rule, dt[n], a[n])
            state[n] = z * state[n] + f * b[n] * x
    return state


def both(x):
    return [*x, *(y.conjugate() for y in x)]


def low_rank_space(dt, a, p, b):
    """dA, dB of x' = (diag(a) - sum p p*) x + b u, bilinear; p: rows of the rank."""
    a, b, p = both(a), both(b), [both(row) for row in p]
    n = len(a)
    dense = [[(a[i] if i == j else 0) - sum(row[i] * row[j].conjugate() for row in p) for j in range(n)]
             for i in range(n)]
    left = [[(i == j) - dt / 2 * dense[i][j] for j in range(n)] for i in range(n)]
    right = [[(i == j) + dt / 2 * dense[i][j] for j in range(n)] + [dt * b[i]] for i in range(n)]
    both_sides = solve(left, right)
    return [row[:n] for row in both_sides], [row[n] for row in both_sides]


def low_rank_run(space, c, u):
    """Outputs c x_t over all states, and the last state."""
    da, db = space
    state, out, c = [0j] * len(db), [], both(c)
    for x in u:
        state = [dot(row, state) + db[i] * x for i, row in enumerate(da)]
        out.append(dot(c, state).real)
    return out, state
