"""The hub's failures as ours: one sentence, one hint, the right class.

huggingface_hub is imported inside the functions: only a download needs it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from fairway.errors import DoesNotFit, FairwayError, ModelNotFound, NotAuthorized, OfflineError

TOKEN_HINT = "Set HF_TOKEN to a token that may read it (https://huggingface.co/settings/tokens)."


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Turns whatever huggingface_hub raises about `repo` into a `FairwayError`."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    # The HTTP library below has changed twice (requests, httpx, httpx2); its base error is this one.
    transport_error = HfHubHTTPError.__mro__[1]
    try:
        yield
    except FairwayError:
        raise
    except OfflineModeIsEnabled as error:
        raise OfflineError(f"{repo} is not on this disk and HF_HUB_OFFLINE is set.") from error
    except HFValidationError as error:
        raise ModelNotFound(f"{repo} is not a possible hub id: {error}") from error
    except HfHubHTTPError as error:
        raise _refused(repo, error) from error
    except OSError as error:
        raise _broken(repo, error) from error
    except Exception as error:
        if isinstance(error, transport_error):
            raise _unreachable(repo, error) from error
        raise


def _refused(repo: str, error: Exception) -> FairwayError:
    """The hub answered, with a refusal."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    page = f"https://huggingface.co/{repo}"
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, GatedRepoError):
        return NotAuthorized(
            f"{repo} is gated: its authors ask for terms to be accepted first.",
            hint=f"Accept them at {page}, then set HF_TOKEN to your token.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFound(
            f"The hub has no model {repo} that you may see.", hint=f"If it is private: {TOKEN_HINT}"
        )
    if isinstance(error, EntryNotFoundError) or status == 404:
        return ModelNotFound(f"{repo} no longer has a file that it lists.", hint="Try again.")
    if status in (401, 403):
        return NotAuthorized(f"The hub refuses to give {repo} to this token ({status}).", hint=TOKEN_HINT)
    return OfflineError(
        f"The hub answered {status} for {repo}.", hint="Try again later; what is here is kept."
    )


def _broken(repo: str, error: OSError) -> FairwayError:
    if error.errno == errno.ENOSPC:
        return DoesNotFit(
            f"The disk is full while fetching {repo}.", hint="Free some space and run it again."
        )
    return _unreachable(repo, error)


def _unreachable(repo: str, error: Exception) -> FairwayError:
    from huggingface_hub import constants

    reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
    return OfflineError(
        f"{repo} cannot be fetched: {constants.ENDPOINT} cannot be reached ({reason}).",
        hint="Check the network and run the same command again: it continues where it stopped.",
    )
