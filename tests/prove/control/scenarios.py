"""The lives that are spoilt at every point, each a small function: what a user does, and what is waited for."""

from collections.abc import Callable
from typing import Final

from tests.prove.control.stage import World
from tests.support.cluster_schedules import TIMES, batch_schedule
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop

Scenario = Callable[[World], None]


def create(world: World) -> None:
    """It is created, runs and ends."""
    start(world)
    finish(world)


def suspend(world: World) -> None:
    """It is paused in mid-run."""
    start(world)
    pause(world)


def resume(world: World) -> None:
    """It is created paused, resumed, paused in mid-run and resumed again."""
    with world.step("create paused"):
        world.apply(suspend=True)
        world.jobs.wait_phase("run", "Suspended")
    go_on(world)
    pause(world)
    go_on(world, "resume again")
    finish(world)


def cancel(world: World) -> None:
    """It is cancelled in mid-run."""
    start(world)
    with world.step("cancel"):
        world.change(cancel=True)
        world.jobs.wait_condition("run", "Failed", "Cancelled")
        world.dismissed()


def delete(world: World) -> None:
    """It is deleted in mid-run."""
    start(world)
    with world.step("delete"):
        world.delete()
        world.gone()


def delete_while_down(world: World) -> None:
    """It is deleted while it starts: where the operator is killed, while that is down."""
    world.in_between = world.delete
    with world.step("create"):
        world.apply()
        if world.is_clean:
            world.running()
            world.delete()
        world.gone()


def scale(world: World) -> None:
    """It gets more pods and then fewer."""
    start(world)
    for slots in (3, 2):
        with world.step(f"{slots} pods"):
            world.change(parallelism=slots)
    finish(world)


def fail(world: World) -> None:
    """Items fail, and so does it."""
    with world.step("create"):
        world.apply(source=world.failing_items())
        world.running()
    with world.step("fail"):
        world.hurry()
        world.jobs.wait_condition("run", "Failed", "ItemsFailed")
        world.dismissed()


def redrive(world: World) -> None:
    """What failed of another one is run again."""
    with world.step("parent"):
        world.apply("parent", source=world.failing_items())
        world.running("parent")
        world.hurry()
        world.jobs.wait_condition("parent", "Failed", "ItemsFailed")
        world.dismissed()
    with world.step("redrive"):
        world.apply(source={"redriveOf": {"batchJobName": "parent"}})
        world.jobs.wait_condition("run", "Failed", "ItemsFailed")
        world.dismissed()


def takeover(world: World) -> None:
    """The first of two makes the Lease; it leaves in mid-run, and the other one goes on."""
    first, second = world.actors
    with world.step("lead"):
        second.leave()
        first.leave()
        world.forget_leader()
        first.start()
        first.wait_until_it_leads()
    start(world)
    with world.step("leave"):
        second.start()
        first.leave()
        second.wait_until_it_leads()
    with world.step("suspend"):
        world.change(suspend=True)
        world.jobs.wait_condition("run", "Suspended", "SuspendedByUser")


def deadline(world: World) -> None:
    """Its time is over before its items are done."""
    with world.step("create"):
        world.apply(activeDeadlineSeconds=3600)
        world.running()
    with world.step("deadline"):
        world.change(activeDeadlineSeconds=1)
        world.jobs.wait_condition("run", "Failed", "DeadlineExceeded")
        world.dismissed()


def retention(world: World) -> None:
    """What it left is removed soon after its end, and then itself."""
    with world.step("create"):
        world.apply(retention={"completedSeconds": 0})
        world.running()
    with world.step("expire"):
        world.hurry()
        world.jobs.wait_phase("run", "Succeeded")
        world.dismissed()
        wait_until(lambda: world.names("jobs"), "its Job to go", until=lambda jobs: not jobs)
    with world.step("go"):
        world.change(ttlSecondsAfterFinished=0)
        world.gone()


def queue(world: World) -> None:
    """Its queue is paused when it comes, and goes on; then it is paused in mid-run, which stops nobody."""
    with world.step("create in a paused queue"):
        world.set_queue(paused=True)
        world.apply(queueName=world.queue)
        world.jobs.wait_condition("run", "Queued", "QueuePaused")
    with world.step("open"):
        world.set_queue(paused=False)
        world.running()
    with world.step("pause the queue"):
        world.set_queue(paused=True)
    finish(world)


def schedule(world: World) -> None:
    """Its time comes, its run begins and is cancelled, and its Job hears of it."""
    with world.step("schedule"):
        world.jobs.kubectl.apply(batch_schedule("run", template={"spec": noop("run", inline(1), suspend=True)["spec"]}))
        world.schedules.wait_seen("run")
    with world.step("fire"):
        run = world.schedules.fire("run", TIMES[0])
        wait_until(lambda: run in world.names("batchjobs"), "the run of its time")
        world.know(run)
        world.jobs.wait_phase(run, "Suspended")
    with world.step("end"):
        world.change(run, cancel=True)
        world.schedules.wait_job(world.schedules.job_of(run)["metadata"]["name"], "Failed")


def settings_of(scenario: Scenario) -> dict[str, float]:
    """Times of the operator are short where a scenario waits for them; elsewhere a busy machine must not meet them."""
    if scenario is takeover:
        return {"lease_seconds": 4, "lease_renew_seconds": 2}
    return {"linger_seconds": 3} if scenario in {cancel, deadline} else {}


def start(world: World) -> None:
    """A BatchJob whose items are worked on."""
    with world.step("create"):
        world.apply()
        world.running()


def pause(world: World) -> None:
    """The pods leave."""
    with world.step("suspend"):
        world.change(suspend=True)
        world.jobs.wait_condition("run", "Suspended", "SuspendedByUser")


def go_on(world: World, step: str = "resume") -> None:
    """The pods come back."""
    with world.step(step):
        world.change(suspend=False)
        world.running()


def finish(world: World) -> None:
    """Its items are done, and what it needed is gone."""
    with world.step("finish"):
        world.hurry()
        world.jobs.wait_phase("run", "Succeeded")
        world.dismissed()


SCENARIOS: Final = (
    create, suspend, resume, cancel, delete, delete_while_down, scale, fail, redrive, deadline, retention, queue,
    schedule, takeover,
)  # fmt: skip
