"""Features on disk: content-addressed, written whole or not at all, never encoded twice.

    $LGCA_STORE, else home()/store
      <sha256 of its key>/                         a feature set: some pictures, an encoder and a plan of boxes
        pool.json                                  the key, for people and for ``lgca store``
        000003-15616-<sha256 of the file>.safetensors
                                                   its shard 3, of pictures 768 to 1023: 15,616 boxes

No file is ever changed. A shard is written beside its place, forced to the disc, and renamed: a reader sees all of it
or nothing, and two writers cannot mix. A shard grows by a larger file that takes the place of the smaller; that of a
run which was stopped holds some of its pictures, the others have the size 0 x 0 and no boxes yet. Of several
files for one shard the one with the most boxes counts, of equals the one whose name sorts first: so whatever wrote
them, in whatever order, all readers agree. What is damaged no longer has the content that its name says; it is
reported, removed, and encoded again.
"""

from lgca_core.evaluation.store.feature_set import FeatureSet
from lgca_core.evaluation.store.keys import pool_key, sentences_key
from lgca_core.evaluation.store.listing import Damage, Stored
from lgca_core.evaluation.store.shard import Shard
from lgca_core.evaluation.store.store import Store, default_root

__all__ = ["Damage", "FeatureSet", "Shard", "Store", "Stored", "default_root", "pool_key", "sentences_key"]
