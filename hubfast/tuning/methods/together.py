"""Methods that tune several models together: in the end all of them run, or one made of them."""

from hubfast.pathway import HubModel, HubPathway, pathway_generator
from hubfast.tuning.context import TuningContext
from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.methods.knowledge_flow import KnowledgeFlow
from hubfast.tuning.methods.method import Options
from hubfast.tuning.methods.zoo import ZooMethod
from hubfast.tuning.terms.b_tuning import teacher_weights

PATHWAYS = 2  # models that a sample goes through, of Hub-Pathway
SMALL_IMAGES = 64  # pixels: below, Hub-Pathway's generator is timm's smallest network


def build_ensemble(context: TuningContext, options: Options) -> Ensemble:
    """All models, tuned on their own."""
    return Ensemble(context.load_all(), context.task)


def build_knowledge_flow(context: TuningContext, options: Options) -> KnowledgeFlow:
    """The first model as the student, all as its teachers."""
    student, teachers = context.load_image_model(), context.load_image_models()
    return KnowledgeFlow(student, teachers, context.task, context.example, context.steps)


def build_hub_pathway(context: TuningContext, options: Options) -> HubPathway:
    """All models, with a generator that sends each image through some of them."""
    models = {
        source.name: HubModel(model)
        for source, model in zip(context.sources, context.load_all(), strict=True)
    }
    small = max(context.example.shape[-2:]) <= SMALL_IMAGES
    generator = pathway_generator("test_resnet" if small else "resnet10", len(models))
    # The models resize and normalise by themselves: only the generator sees the images as they are.
    return HubPathway(
        models,
        min(PATHWAYS, len(models)),
        classes=context.labels.outputs,
        generator=generator,
        prior=_prior(context),
    )


def build_zoo(context: TuningContext, options: Options) -> ZooMethod:
    """All models in one, mixed anew for every sample."""
    return _zoo(context, lite=False)


def build_zoo_lite(context: TuningContext, options: Options) -> ZooMethod:
    """All models in one, mixed alike for all samples."""
    return _zoo(context, lite=True)


def _zoo(context: TuningContext, *, lite: bool) -> ZooMethod:
    models, names = context.load_image_models(), [source.name for source in context.sources]
    return ZooMethod(models, context.labels.outputs, _prior(context), lite=lite, names=names)


def _prior(context: TuningContext) -> list[float]:
    """Probability of each model: n times LogME is a log evidence."""
    scores = [context.features_and_logme(k)[1].score for k in range(len(context.sources))]
    return teacher_weights(scores, 1 / len(context.samples)).tolist()
