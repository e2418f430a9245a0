"""Deep copies of models, of those too that torch's own deep copy refuses."""

import copy
from typing import Any, TypeVar

from torch import Tensor, nn

Copied = TypeVar("Copied")


def deep_copy(value: Copied, model: nn.Module) -> Copied:
    """A deep copy of a model, or of a value that holds it; what is shared inside the value is shared inside the copy.

    Args:
        value: The model, or a tuple or list of modules that share its layers.
        model: The model. Weights that its hooks compute before each call, which torch refuses to copy, become plain tensors.
    """
    computed = [tensor for module in model.modules() for tensor in vars(module).values() if isinstance(tensor, Tensor)]
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in computed if not tensor.is_leaf}
    return copy.deepcopy(value, memo)
