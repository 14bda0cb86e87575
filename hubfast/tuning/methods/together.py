"""Methods that tune several models together: in the end all of them run, or one made of them."""

from hubfast.pathway import HubModel, HubPathway, pathway_generator
from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.methods.knowledge_flow import KnowledgeFlow
from hubfast.tuning.methods.method import Options
from hubfast.tuning.methods.zoo import ZooMethod
from hubfast.tuning.setting import Setting
from hubfast.tuning.terms.b_tuning import teacher_weights

PATHWAYS = 2  # models that a sample goes through, of Hub-Pathway
SMALL_IMAGES = 64  # pixels: below, Hub-Pathway's generator is timm's smallest network


def build_ensemble(setting: Setting, options: Options) -> Ensemble:
    """All models, tuned on their own."""
    return Ensemble(setting.all(), setting.task)


def build_knowledge_flow(setting: Setting, options: Options) -> KnowledgeFlow:
    """The first model as the student, all as its teachers."""
    student, teachers = setting.load(), setting.all()
    return KnowledgeFlow(student, teachers, setting.task, setting.example, setting.steps)


def build_hub_pathway(setting: Setting, options: Options) -> HubPathway:
    """All models, with a generator that sends each image through some of them."""
    models = {
        source.name: HubModel(model)
        for source, model in zip(setting.sources, setting.all(), strict=True)
    }
    small = max(setting.images.size) <= SMALL_IMAGES
    generator = pathway_generator("test_resnet" if small else "resnet10", len(models))
    # The models resize and normalise by themselves: only the generator sees the images as they are.
    return HubPathway(
        models,
        min(PATHWAYS, len(models)),
        classes=setting.labels.outputs,
        generator=generator,
        prior=_prior(setting),
    )


def build_zoo(setting: Setting, options: Options) -> ZooMethod:
    """All models in one, mixed anew for every sample."""
    return ZooMethod(setting.all(), setting.labels.outputs, _prior(setting), lite=False)


def build_zoo_lite(setting: Setting, options: Options) -> ZooMethod:
    """All models in one, mixed alike for all samples."""
    return ZooMethod(setting.all(), setting.labels.outputs, _prior(setting), lite=True)


def _prior(setting: Setting) -> list[float]:
    """Probability of each model: n times LogME is a log evidence."""
    scores = [setting.posterior(k)[1].score for k in range(len(setting.sources))]
    return teacher_weights(scores, 1 / len(setting.images)).tolist()
