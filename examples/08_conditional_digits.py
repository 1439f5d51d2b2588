# %% [markdown]
# # 8. Digits on demand
#
# A label $y$ tells G what to draw, and D what to look for. One GAN then draws any digit that is
# asked for, and a classifier reads whether it did.

# %%
import lesson
import numpy as np

import minigan as mg
from minigan.run.features import ClassifierFeatures

quick, show = lesson.start("08_conditional_digits")
epochs, every, judge_steps = (1, 50, 4) if quick else (8, 1, 300)
images, labels = mg.datasets.digits()
rng = np.random.default_rng(0)
SIZES = (32, 16), (16, 32, 64)  # channels of G's layers and of D's
G, D = mg.models.clear_digits(sizes=SIZES, seed=0)

# %% [markdown]
# ## A label is a row of a table
#
# It picks a row of a table $E$ that is trained like any weight. With $o(y)$, zeros and a one in
# place $y$, this is a product, and its gradient is one too: rows of $de$ under one label add up.
#
# $$ e = E_y = o(y) E, \quad dE = o(y)^\top de, \quad dE_k = \sum_{n:\, y_n = k} de_n . $$
#
# In the library: [forward](<../minigan/layers/embedding.py#["embeddings"][x], Cache>),
# [backward](<../minigan/layers/embedding.py#one_hot.T.astype(dy.dtype), rows>).

# %%
table = mg.Embedding(10, 3)
table.build(())
y, de = np.array([7, 3, 7, 0]), np.arange(12).reshape(4, 3)
_, cache = table.forward(mg.asarray(y))
_, grads = table.backward(mg.asarray(de, "float32"), cache)
by_hand = np.zeros((10, 3))
np.add.at(by_hand, y, de)
print("labels", y, "gradient of rows 0, 3, 7", *by_hand[[0, 3, 7]])
assert (mg.to_numpy(grads["embeddings"]) == by_hand).all()  # sums of whole numbers: exact

# %% [markdown]
# ## In the generator: beside the latent
#
# G takes $(z, e(y))$, [side by side](<../minigan/network_parts.py#Activation("linear"), wide]>).
# Its first dense layer splits at the seam:
#
# $$ (z, e(y))\, W + b = z W_z + b(y), \qquad b(y) = e(y)\, W_e + b . $$
#
# So a label is a bias, one for each digit, and all else in G is shared.

# %%
z, y = rng.standard_normal((10, 64)).astype("float32"), np.arange(10)
joined, _ = G.layers[0].forward((mg.asarray(z), mg.asarray(y)))
found, _ = G.layers[1].forward(joined)
names = ("dense.kernel", "dense.bias", "parallel.1.embeddings")
W, b, E = (mg.to_numpy(G.params[name]).astype("float64") for name in names)
by_hand = z @ W[:64] + (E @ W[64:] + b)[y]
# n float32 products and their sum are wrong by n/2^24 of the sum of their sizes at most
bound = 75 / 2**24 * (np.abs(mg.to_numpy(joined)) @ np.abs(W))
assert (np.abs(mg.to_numpy(found) - by_hand) <= bound).all()

# %% [markdown]
# ## In the discriminator: a projection
#
# D makes features $h(x)$, and the label's own vector scores them (Miyato and Koyama, 2018):
#
# $$ s = \langle v_y, h(x) \rangle, \quad dh = ds\, v_y,
#    \quad dv_k = \sum_{n:\, y_n = k} ds_n\, h_n . $$
#
# The best logit is $\log p(x, y) / q(x, y)$, the real images' density over G's. If $p(y | x)$ and
# $q(y | x)$ are softmax models on $h$, it is linear in $h$ for each $y$, plus a term of $x$ alone;
# here that term is what the $v_y$ have in common. So D is ten linear heads: the label picks one.
# In the library: [the pair](<../minigan/network_parts.py#judge], merge="dot">),
# [the product](<../minigan/layers/merge.py#return (outputs[0] * outputs[1]).sum(axis=-1>),
# [its gradient](<../minigan/layers/merge.py#return [dy * factors[1], dy * factors[0]]>).

# %%
x = mg.asarray(images[::1000] / 127.5 - 1, "float32")
found, _ = D.forward((x, mg.asarray(y)), training=False)
h, _ = D.layers[0].layers[0].forward(x, training=False)
h, V = (mg.to_numpy(a).astype("float64") for a in (h, D.params["parallel.1.embeddings"]))
bound = 1024 / 2**24 * (np.abs(h) @ np.abs(V.T))
assert (np.abs(mg.to_numpy(found)[:, 0] - (h @ V.T)[y, y]) <= bound[y, y]).all()
project = mg.Parallel([mg.Activation("linear"), mg.Embedding(10, 6)], merge="dot")
report = mg.check_gradients(project, ((6,), ()))
print("worst relative error of the projection's gradients:", report.max_error)
assert report.ok

# %% [markdown]
# ## Asked and read
#
# Two GANs see the same images. One is told their labels, the other labels dealt out anew, which say
# nothing of the image: D then has nothing to hold against a G that does not listen.

# %%
judge = ClassifierFeatures((28, 28, 1), classes=10).train(images, labels, steps=judge_steps)
asked = np.tile(np.arange(10), 100)
z = np.repeat(rng.standard_normal((100, 64)).astype("float32"), 10, axis=0)  # each under ten labels
figure, [axes] = lesson.figure()
for name, told in (("labels dealt out anew", rng.permutation(labels)), ("labels", labels)):
    right = []

    def look(epoch, gan, logs, right=right):
        made = np.rint(127.5 * (gan.sample(1000, labels=asked, z=z) + 1)).astype("uint8")
        right.append((judge.read(judge.features(made)) == asked).mean())

    gan = mg.GAN(*mg.models.clear_digits(sizes=SIZES, seed=0), **mg.recipes.clear_digits, seed=0)
    mg.train(gan, (images[::every], told[::every]), epochs, on_epoch=look, progress=False)
    print(f"{name}: {right[-1]:.1%} of 1,000 are read as asked")
    assert quick or (right[-1] > 0.5 if name == "labels" else right[-1] < 0.2)
    axes.plot(range(1, epochs + 1), right, "o-", label=name)
axes.set(xlabel="epoch", ylabel="share read as asked", ylim=(0, 1))
axes.legend()
show("accuracy.png", figure)

# %% [markdown]
# A row is one latent. What it keeps under all labels is style, such as how heavy the pen is: over
# the rows, the ink of one digit goes with the ink of another.

# %%
samples = gan.sample(1000, labels=asked, z=z)
ink = np.corrcoef(samples.reshape(100, 10, -1).mean(axis=2).T)
print(f"correlation of two digits' ink: {ink[np.triu_indices(10, 1)].mean():.2f} in the mean")
assert quick or ink[np.triu_indices(10, 1)].mean() > 0.2
show("digits.png", mg.image_grid(samples[:100], columns=10))
