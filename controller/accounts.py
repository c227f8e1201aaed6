"""What of the controller's actions whoever reads its log at night wants to know. Pure."""

from controller import plan


def account(action: plan.Action) -> str | None:
    """One sentence; None for what only leads from one thing to the next."""
    match action:
        case plan.Admit(session_id):
            return f"session {session_id} is taken up"
        case plan.Reopen(session_id):
            return f"session {session_id} is retried"
        case plan.Pause(session_id, step):
            return f"session {session_id} is paused before {step}"
        case plan.Resume(session_id, step):
            return f"session {session_id} goes on with {step}"
        case plan.Cancel(session_id):
            return f"session {session_id} is cancelled"
        case plan.FinishStep(session_id, step, status):
            return f"session {session_id}: {step} is {status}"
        case plan.EndAttempt(session_id, step, code, message, failure) if failure:
            return f"session {session_id}: an attempt of {step} failed and another is begun, {code}: {message}"
        case plan.EndAttempt(session_id, step):
            return f"session {session_id}: an attempt of {step} has ended, and what is left makes the next"
        case plan.FailStep(session_id, step, code, message):
            return f"session {session_id} has failed in {step}, {code}: {message}"
    return None
